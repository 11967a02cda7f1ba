-- The points that a chart shows as marks. A query has to write the condition as it stands here for the index to serve it.
CREATE INDEX not_finite_metrics ON metrics (series_id, step) WHERE (value IS NULL OR value = 9e999 OR value = -9e999);
