// Writes cut_queries.json: trees of AWS's open library random-cut-forest-by-aws (Java, 4.x), and what
// it says of a few rows. Compile and run with that library's core on the class path:
//
//     javac -cp core -d out CutQueries.java
//     java -cp core:out com.amazon.randomcutforest.tree.CutQueries > cut_queries.json
package com.amazon.randomcutforest.tree;

import com.amazon.randomcutforest.RandomCutForest;
import com.amazon.randomcutforest.executor.SamplerPlusTree;
import com.amazon.randomcutforest.returntypes.DensityOutput;
import com.amazon.randomcutforest.returntypes.DiVector;
import com.amazon.randomcutforest.returntypes.Neighbor;
import com.amazon.randomcutforest.returntypes.RangeVector;
import com.amazon.randomcutforest.returntypes.SampleSummary;
import com.amazon.randomcutforest.store.IPointStoreView;
import com.amazon.randomcutforest.store.PointStore;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.BiFunction;
import java.util.stream.Collectors;

public class CutQueries {
    static final int WIDTH = 4, TREES = 24, CAPACITY = 8;
    static final int[][] MISSING = { { 0 }, { 1, 3 }, { 0, 1, 2, 3 } };
    static final BiFunction<Double, Double, Double> SEEN = (depth, mass) -> 1 / (depth + mass);
    static final BiFunction<Double, Double, Double> UNSEEN = (depth, mass) -> 1 / (depth + 2);
    static final BiFunction<Double, Double, Double> DAMP = (mass, whole) -> 1 - mass / (3 * whole);

    static String number(double x) {
        return String.format("%.12g", x);
    }

    static String list(double[] x) {
        return Arrays.stream(x).mapToObj(CutQueries::number).collect(Collectors.joining(",", "[", "]"));
    }

    static String list(float[] x) {
        return Arrays.toString(x).replace(" ", "");
    }

    static String parts(DiVector x) {
        return "[" + list(x.high) + "," + list(x.low) + "]";
    }

    // Nodes in preorder: [feature, cut, mass, point].
    static void nodes(RandomCutTree tree, int node, IPointStoreView<float[]> store, List<String> out) {
        AbstractNodeStore nodes = tree.getNodeStore();
        if (tree.isLeaf(node)) {
            String point = list(store.getNumericVector(tree.getPointIndex(node)));
            out.add("[-1,0," + tree.getLeafMass(node) + "," + point + "]");
            return;
        }
        float cut = (float) nodes.getCutValue(node);
        out.add("[" + nodes.getCutDimension(node) + "," + cut + "," + tree.getMass(node) + ",null]");
        nodes(tree, nodes.getLeftIndex(node), store, out);
        nodes(tree, nodes.getRightIndex(node), store, out);
    }

    static String said(RandomCutForest forest, float[] x) {
        List<String> out = new ArrayList<>();
        BiFunction<String, String, Boolean> add = (key, value) -> out.add("\"" + key + "\":" + value);
        add.apply("x", list(x));
        add.apply("score", number(forest.getAnomalyScore(x)));
        add.apply("approximate", number(forest.getApproximateAnomalyScore(x)));
        add.apply("attribution", parts(forest.getAnomalyAttribution(x)));
        for (int ignored : new int[] { 0, 1, 3 })
            add.apply("dynamic_" + ignored, number(forest.getDynamicScore(x, ignored, SEEN, UNSEEN, DAMP)));
        add.apply("dynamic_low", number(forest.getApproximateDynamicScore(x, 0.25, false, 0, SEEN, UNSEEN, DAMP)));
        add.apply("dynamic_attribution", parts(forest.getDynamicAttribution(x, 0, SEEN, UNSEEN, DAMP)));
        DensityOutput density = forest.getSimpleDensity(x);
        add.apply("measure", parts(density.measure));
        add.apply("mass", parts(density.probMass));
        add.apply("distance", parts(density.distances));
        add.apply("density", number(density.getDensity()));
        add.apply("density_of_plane", number(density.getDensity(0.01, 2)));
        add.apply("directional", parts(density.getDirectionalDensity()));
        List<String> near = new ArrayList<>();
        for (Neighbor one : forest.getNearNeighborsInSample(x, 2.0))
            near.add("[" + number(one.distance) + "," + list(one.point) + "]");
        add.apply("neighbours", near.toString());
        for (int i = 0; i < MISSING.length; i++) {
            SampleSummary all = forest.getConditionalFieldSummary(x, MISSING[i], 1, 0, false, false, 1, 1);
            add.apply("imputation_" + i, "[" + list(all.median) + "," + list(all.mean) + "," + list(all.deviation)
                    + "," + list(all.lower) + "," + list(all.upper) + "]");
        }
        for (boolean cyclic : new boolean[] { false, true }) {
            RangeVector next = forest.extrapolateWithRanges(x, 3, 2, cyclic, 0, 1.0);
            add.apply(cyclic ? "cyclic" : "sliding",
                    "[" + list(next.values) + "," + list(next.lower) + "," + list(next.upper) + "]");
        }
        return "{" + String.join(",\n", out) + "}";
    }

    public static void main(String[] given) {
        RandomCutForest forest = RandomCutForest.builder().dimensions(WIDTH).numberOfTrees(TREES)
                .sampleSize(CAPACITY).outputAfter(1).randomSeed(17).timeDecay(0.01).build();
        Random random = new Random(5);
        for (int i = 0; i < 60; i++) {
            float[] point = new float[WIDTH];
            for (int j = 0; j < WIDTH; j++) {
                float drawn = Math.round(random.nextGaussian() * 8) / 8f;
                point[j] = i % 7 == 3 ? j / 4f : drawn;
            }
            forest.update(point);
        }
        PointStore store = (PointStore) forest.getUpdateCoordinator().getStore();
        List<String> trees = new ArrayList<>();
        float[] held = null;
        for (Object component : forest.getComponents()) {
            RandomCutTree tree = (RandomCutTree) ((SamplerPlusTree<?, ?>) component).getTree();
            List<String> out = new ArrayList<>();
            nodes(tree, tree.getRoot(), store, out);
            trees.add("[" + String.join(",", out) + "]");
            int node = tree.getRoot();
            while (!tree.isLeaf(node))
                node = tree.getNodeStore().getLeftIndex(node);
            if (held == null)
                held = store.getNumericVector(tree.getPointIndex(node));
        }
        float[][] rows = { { 0, 0, 0, 0 }, { 0, .25f, .5f, .75f }, held, { 4, -3, .125f, 6 },
                { -.5f, 1.5f, -1, .25f }, { 0, 9, 0, 0 } };
        List<String> queries = new ArrayList<>();
        for (float[] row : rows)
            queries.add(said(forest, row));
        System.out.println("{\"trees\":[" + String.join(",\n", trees) + "],");
        System.out.println("\"queries\":[" + String.join(",\n", queries) + "]}");
    }
}
