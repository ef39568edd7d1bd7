"""IP Insights: how usual it is that an entity uses an address, learnt from pairs that were seen.

Entities and addresses get vectors whose inner product is the log-odds that a pair was seen and not
made up. Those that are made up have a random address, or that of another row of the batch. An
entity is a name, hashed to a row of a table; an address is its prefixes, so that one never seen is
like its neighbours.

Cost: O(n p d (d + w)) per epoch, n rows of p pairs, vectors of d numbers, w prefixes of an address;
the products with d x d matrices are taken once for a row. Memory is three times the model: the
optimizer's two means of every number.

Differences from the original: random numbers are seeded, and all sums have one order, so that the
same data and seed give the same bytes; addresses may be those of IPv6; training goes on from an
earlier model; a model knows again the entities that it has seen, but for one in sixteen or so of
the others.
"""

from smalgos.algorithms.ip_insights.model import IPInsightsModel
from smalgos.algorithms.ip_insights.parameters import IPInsightsParameters
from smalgos.algorithms.ip_insights.state import IPInsightsState
from smalgos.formats.content_type import CSV
from smalgos.learning.model import Algorithm

ALGORITHM = Algorithm(
    name="ipinsights",
    label="ipinsights",
    parameters=IPInsightsParameters,
    state=IPInsightsState,
    model=IPInsightsModel,
    channels=("train", "[validation]", "[model]"),
    texts=("entity", "ip"),
    envelope="predictions",
    fields=("dot_product", "ip_embedding", "entity_embedding"),
    content_type=CSV,
    verbose=True,
    summary="how usual it is that an entity uses an IP address",
)
