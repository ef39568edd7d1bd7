"""scikit-learn's face of the algorithms; the only folder that imports scikit-learn."""
