"""Views for people who open the file with another tool: names instead of ids, dates instead of microseconds.

The program itself never reads them. Dollars in them are rounded for display; the tables hold the exact pico-dollars.
"""

V_REQUESTS = """CREATE VIEW v_requests AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, r.endpoint, m.provider, m.model,
       CASE WHEN r.state = 'queued' AND r.not_before > 0
            THEN strftime('%Y-%m-%dT%H:%M:%SZ', r.not_before / 1000000, 'unixepoch') END AS not_before,
       r.attempts, r.tries, r.crashes, r.failure
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id"""

V_RESULTS = """CREATE VIEW v_results AS
SELECT r.id, j.name AS job, r.line, r.custom_id, r.state, m.provider, m.model, s.status, r.failure, s.error,
       CAST(p.body AS TEXT) AS body, a.tin AS input_tokens, a.tout AS output_tokens, a.usage_from,
       a.cost AS cost_pico_usd, round(a.cost / 1e12, 6) AS cost_usd,
       strftime('%Y-%m-%dT%H:%M:%SZ', a.opened / 1000000, 'unixepoch') AS opened,
       (a.ended - a.opened) / 1000 AS milliseconds, o.custom_id AS copy_of
  FROM requests AS r JOIN jobs AS j ON j.id = r.job_id JOIN models AS m ON m.id = r.model_id
  LEFT JOIN requests AS o ON o.id = r.copy_of
  LEFT JOIN attempts AS s ON s.id = r.attempt_id
  LEFT JOIN attempts AS a ON a.id = r.attempt_id AND a.request_id = r.id
  LEFT JOIN responses AS p ON p.request_id = coalesce(r.copy_of, r.id)"""

V_COSTS_DAILY = """CREATE VIEW v_costs_daily AS
SELECT date(t.day * 86400, 'unixepoch') AS day, j.name AS job, m.provider, m.model,
       sum(t.n) AS attempts, sum(t.tin) AS input_tokens, sum(t.tout) AS output_tokens,
       round(sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'used' AND t.usage_from = 'provider')
             / 1e12, 6) AS recorded_usd,
       round(sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'used' AND t.usage_from <> 'provider')
             / 1e12, 6) AS estimated_usd,
       round(sum(t.hold) FILTER (WHERE t.billing = 'unknown') / 1e12, 6) AS possibly_billed_usd,
       round(sum(t.cost) FILTER (WHERE t.billing = 'billed' AND t.use = 'wasted') / 1e12, 6) AS wasted_usd,
       sum(t.unpriced) AS unpriced_attempts
  FROM totals AS t LEFT JOIN jobs AS j ON j.id = t.job_id JOIN models AS m ON m.id = t.model_id
 GROUP BY t.day, t.job_id, t.model_id"""

VIEWS = (V_REQUESTS, V_RESULTS, V_COSTS_DAILY)
