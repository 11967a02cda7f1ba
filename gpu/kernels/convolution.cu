// A convolution from the map before it to its output, or from the gradient of its output to that of its input.
//
// Both are one form: output row so·y + p takes input rows si·y + d for d = lo_p … lo_p + n_p − 1, where p is the row's phase (0 where
// so = 1); columns likewise. Transposed convolutions, convolutions of an upsampled map and the gradients of strided ones have so = 2,
// strided ones and the gradients of transposed ones si = 2. Weights come packed in that form (pack.cu), [phase][input channel][row]
// [column][output channel, to a multiple of 4].
//
// A block computes a tile of the grid of one phase, for a group of output channels: the input with its margin and the weights lie in
// shared memory, some input channels at a time, and a thread holds ry rows × TM columns × TN channels in registers. On its way in a
// map is normalized and rectified (or a gradient taken back through both), on its way out pooled, summed for the next batch norm,
// or scored.

enum { FORWARD, FORWARD_POOLED, BACKWARD, LAST };

struct ConvolveArguments {
    Operand input[2];
    Batch batch;
    const float *weights[4];  // by phase
    const float *bias;
    float *output;         // z, the gradient of the activation before, or of the logits
    float *output2;        // BACKWARD: of the channels behind out_split
    u8 *argmax;            // FORWARD_POOLED
    float *partials;       // [block][channel][2]
    u32 *counter;
    // Batch norm of the output (FORWARD), or of the activation whose gradient is complete (BACKWARD).
    float *coefficients;
    const float *z;        // BACKWARD: its input
    const float *norm_weight, *norm_bias;
    float *running_mean, *running_var;
    float *gradient_weight, *gradient_bias;
    // LAST
    const u8 *classes;
    double *scores;        // [cursor][2]: sum of losses, hits
    double *score_partials;  // [block][2]
    float *logits;         // where they are wanted
    u8 *predictions;       // [cursor·stride + image][pixel], where they are wanted
    float copies;          // how often the network has each value: 4 where an upsampling stands before the batch norm
    u32 training;
    u32 advance;           // the cursor moves on in the end
};

template <class S>
struct Tile {
    int n0, y0, x0;  // first image, row and column of the grid
    __device__ __forceinline__ Tile(const S s, int index) {
        x0 = index % s.tiles_x * s.tile_cols;
        y0 = index / s.tiles_x % s.tiles_y * s.tile_rows;
        n0 = index / (s.tiles_x * s.tiles_y) * s.tile_images;
    }
    // Pixels of the grid in this tile.
    __device__ __forceinline__ int count(const S s, int images) const {
        return smaller(s.tile_images, images - n0) * smaller(s.tile_rows, s.ho / s.so - y0) * smaller(s.tile_cols, s.wo / s.so - x0);
    }
};

