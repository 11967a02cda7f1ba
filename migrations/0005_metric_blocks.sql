-- The points of a series in blocks of 2^shift steps (shift 4, 8, 12), so that a chart of a million points reads a few thousand rows.
-- Each level is made from the one below it, the lowest from the points.
CREATE TABLE metric_blocks (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    shift INTEGER NOT NULL,
    block INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    last_step INTEGER NOT NULL,
    points INTEGER NOT NULL,
    minimum REAL,
    maximum REAL,
    PRIMARY KEY (series_id, shift, block)
) STRICT, WITHOUT ROWID;

INSERT INTO metric_blocks
SELECT series_id, 4, step >> 4, MIN(step), MAX(step), COUNT(*), MIN(value), MAX(value) FROM metrics GROUP BY series_id, step >> 4;
INSERT INTO metric_blocks
SELECT series_id, 8, block >> 4, MIN(first_step), MAX(last_step), SUM(points), MIN(minimum), MAX(maximum)
FROM metric_blocks WHERE shift = 4 GROUP BY series_id, block >> 4;
INSERT INTO metric_blocks
SELECT series_id, 12, block >> 4, MIN(first_step), MAX(last_step), SUM(points), MIN(minimum), MAX(maximum)
FROM metric_blocks WHERE shift = 8 GROUP BY series_id, block >> 4;

-- powers_of_two is read no more: points are inserted as bound values, which are exact. It stays, because a dropped table leaves pages
-- behind that hold nothing, and no check tells whether they are damaged.
