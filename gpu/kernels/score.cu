// The last convolution's logits, which lie in shared memory: softmax, cross-entropy and its gradient, hits, predictions.

// Where pixel `p` of a tile is, and whether it is one of the batch.
template <class S, int PY, int PX>
struct Pixel {
    int n, y, x;
    bool valid;
    __device__ __forceinline__ Pixel(const S s, const Tile<S> &tile, int images, int p) {
        const int gx = ceil_div(s.tile_cols, TM), gy = ceil_div(s.tile_rows, s.ry), pg = p / (s.ry * TM);
        const int column = tile.x0 + pg % gx * TM + p % TM, row = tile.y0 + pg / gx % gy * s.ry + p / TM % s.ry;
        n = tile.n0 + pg / (gx * gy);
        y = row * s.so + PY;
        x = column * s.so + PX;
        valid = n < images && y < s.ho && x < s.wo;
    }
};

// The sum over all threads, to the first.
DEVICE double block_sum(double value, double *buffer) {
    const int columns = smaller(16, blockDim.x);
    const double part = column_sum(value, columns, buffer);
    if ((int)threadIdx.x < columns) buffer[threadIdx.x] = part;
    __syncthreads();
    double sum = 0.0;
    if (threadIdx.x == 0) {
        for (int i = 0; i < columns; i++) sum += buffer[i];
    }
    __syncthreads();
    return sum;
}

template <class S, int PY, int PX>
DEVICE void score(const S s, const ConvolveArguments &a, const Tile<S> &tile, int block, float *logits, double *buffer) {
    const int stride = s.co | 1, pixels = s.pg * s.ry * TM, plane = s.ho * s.wo, images = a.batch.count;
    const float share = (float)(1.0 / ((double)images * plane));
    double loss = 0.0, hits = 0.0;
    __syncthreads();
    if (a.logits) {
        for (int i = threadIdx.x; i < pixels * s.co; i += blockDim.x) {
            const int c = i / pixels;
            const Pixel<S, PY, PX> at(s, tile, images, i % pixels);
            if (at.valid) a.logits[(at.n * s.co + c) * plane + at.y * s.wo + at.x] = logits[i % pixels * stride + c];
        }
        __syncthreads();
    }
    for (int p = threadIdx.x; p < pixels; p += blockDim.x) {
        const Pixel<S, PY, PX> at(s, tile, images, p);
        float *const l = logits + p * stride;
        if (!at.valid) {
            for (int c = 0; c < s.co; c++) l[c] = 0.0f;
            continue;
        }
        float most = l[0];
        for (int c = 1; c < s.co; c++) most = l[c] > most || l[c] != l[c] ? l[c] : most;
        float sum = 0.0f;
        int first = -1;
        const u64 row = (u64)*a.batch.cursor * a.batch.stride + at.n;
        const int pixel = at.y * s.wo + at.x, wanted = a.classes ? a.classes[(u64)a.batch.images[row] * plane + pixel] : 0;
        const float of_wanted = l[wanted];
        for (int c = 0; c < s.co; c++) {
            if (first < 0 && l[c] >= most) first = c;
            const float e = expf(l[c] - most);
            sum += e;
            if (a.training) l[c] = e;
        }
        loss += (double)(logf(sum) + (most - of_wanted));
        hits += first == wanted ? 1.0 : 0.0;
        if (a.training) {
            const float scale = share / sum;
            for (int c = 0; c < s.co; c++) l[c] *= scale;
            l[wanted] -= share;
        }
        if (a.predictions) a.predictions[row * plane + pixel] = (u8)(first < 0 ? 0 : first);
    }
    loss = block_sum(loss, buffer);
    hits = block_sum(hits, buffer);
    if (threadIdx.x == 0) {
        a.score_partials[block * 2] = loss;
        a.score_partials[block * 2 + 1] = hits;
    }
    if (!a.training) return;
    // The gradient, and its sums by channel for that of the bias.
    for (int i = threadIdx.x; i < pixels * s.co; i += blockDim.x) {
        const int c = i / pixels;
        const Pixel<S, PY, PX> at(s, tile, images, i % pixels);
        if (at.valid) a.output[(at.n * s.co + c) * plane + at.y * s.wo + at.x] = logits[i % pixels * stride + c];
    }
    for (int first = 0; first < s.co; first += blockDim.x) {
        const int columns = smaller(s.co - first, blockDim.x), lanes = blockDim.x / columns;
        const int c = first + threadIdx.x % columns, lane = threadIdx.x / columns;
        double sum = 0.0;
        if (lane < lanes) {
            for (int p = lane; p < pixels; p += lanes) sum += (double)logits[p * stride + c];
        }
        sum = column_sum(sum, columns, buffer);
        if ((int)threadIdx.x < columns) a.partials[(block * s.co + c) * 2] = (float)sum;
    }
}

// The sums over all blocks.
template <class S>
DEVICE void finish_scores(const S s, const ConvolveArguments &a, double *buffer) {
    const int blocks = gridDim.x * gridDim.z;
    const volatile double *scores = a.score_partials;
    const volatile float *partials = a.partials;
    double loss = 0.0, hits = 0.0;
    for (int b = threadIdx.x; b < blocks; b += blockDim.x) {
        loss += scores[b * 2];
        hits += scores[b * 2 + 1];
    }
    loss = block_sum(loss, buffer);
    hits = block_sum(hits, buffer);
    if (threadIdx.x == 0) {
        a.scores[*a.batch.cursor * 2] = loss;
        a.scores[*a.batch.cursor * 2 + 1] = hits;
        if (a.advance) *a.batch.cursor += 1;
    }
    for (int first = 0; a.training && first < s.co; first += blockDim.x) {
        const int columns = smaller(s.co - first, blockDim.x), lanes = blockDim.x / columns;
        const int c = first + threadIdx.x % columns, lane = threadIdx.x / columns;
        double sum = 0.0;
        if (lane < lanes) {
            for (int b = lane; b < blocks; b += lanes) sum += partials[(b * s.co + c) * 2];
        }
        sum = column_sum(sum, columns, buffer);
        if ((int)threadIdx.x < columns) a.gradient_bias[c] = (float)sum;
    }
}
