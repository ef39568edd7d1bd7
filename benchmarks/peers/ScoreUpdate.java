import com.amazon.randomcutforest.RandomCutForest;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;

/** Scores each row of a file of float32, then takes it in; says the seconds of each pass. */
public class ScoreUpdate {
    public static void main(String[] given) throws Exception {
        int width = Integer.parseInt(given[1]), trees = Integer.parseInt(given[2]);
        int samples = Integer.parseInt(given[3]), passes = Integer.parseInt(given[4]);
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(Path.of(given[0])));
        float[] values = new float[bytes.capacity() / 4];
        bytes.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        RandomCutForest forest = RandomCutForest.builder().dimensions(width).numberOfTrees(trees)
            .sampleSize(samples).timeDecay(0.1 / samples).outputAfter(1).randomSeed(1)
            .parallelExecutionEnabled(false).build();
        for (int pass = 0; pass < passes; pass++) {
            long began = System.nanoTime();
            double total = 0;
            float[] row = new float[width];
            for (int i = 0; i < values.length; i += width) {
                System.arraycopy(values, i, row, 0, width);
                total += forest.getAnomalyScore(row);
                forest.update(row);
            }
            double seconds = (System.nanoTime() - began) * 1e-9;
            System.out.println(seconds + " " + total / (values.length / width));
        }
    }
}
