package schema

// seedTraffic is a row of each table that limits, prices, budgets, usage, conversations,
// purges of the cache and files are in.
func seedTraffic() []string {
	const dimensions = `, 'acme', 'key', 'ada', 'generate', 'small', 3, '', '', '', `
	return []string{
		`INSERT INTO edge_limits (tenant, name, version, rule, author, create_time, update_time) VALUES ('acme', 'few', 4, '{"name":"few"}', 'acme/ada', 5, 6)`,
		`UPDATE edge_limits_revision SET revision = 4`,
		`INSERT INTO edge_prices (revision, target, model, version, digest, variant, rates, currency, valid_from, removed, create_time, creator)
			VALUES (2, 'small', 'small', 0, '', '', '{"input":150000}', 'USD', 5, 0, 5, 'ada')`,
		`INSERT INTO edge_budgets (uid, tenant, id, scope, scope_name, period, unit, amount, warnings, hard, platform, create_time, update_time, updater)
			VALUES (3, 'acme', 'monthly', 'tenant', '', 'month', 'money', 500, '[80]', 1, 0, 5, 5, 'ada')`,
		`UPDATE edge_usage_revision SET revision = 3`,
		`INSERT INTO edge_usage (id, time_us, request_id, tenant, key_id, subject, kind, model, version, variant, experiment, arm, outcome, estimated, input, cached, output, cost, price)
			VALUES ('e', 7, 'r'` + dimensions + `'whole', 0, 10, 2, 5, 3, 2)`,
		`INSERT INTO edge_usage (id, time_us, request_id, tenant, key_id, subject, kind, model, version, variant, experiment, arm, outcome, estimated, input, cached, output, cost, price, hit, saved_input, saved_output)
			VALUES ('hit', 8, 'r2'` + dimensions + `'cached', 0, 0, 0, 0, 0, 0, 1, 10, 5)`,
		`INSERT INTO edge_conversations (tenant, subject, id, version, create_time, update_time, expire_time, turns, summarized, body)
			VALUES ('acme', 'ada', 'talk', 5, 5, 6, 7, 3, 1, '{"turns":[]}')`,
		`INSERT INTO edge_usage_charges (entry, budget, period, amount) VALUES ('e', 3, 0, 3)`,
		`INSERT INTO edge_usage_hours (start_us, tenant, key_id, subject, kind, model, version, variant, experiment, arm, requests, partial, unpriced, input, cached, output, cost)
			VALUES (0` + dimensions + `1, 0, 0, 10, 2, 5, 3)`,
		`INSERT INTO edge_usage_days (start_us, tenant, key_id, subject, kind, model, version, variant, experiment, arm, requests, partial, unpriced, input, cached, output, cost)
			VALUES (0` + dimensions + `1, 0, 0, 10, 2, 5, 3)`,
		`INSERT INTO edge_budget_counters (budget, period, settled) VALUES (3, 0, 3)`,
		`INSERT INTO edge_budget_leases (budget, period, holder, held, expire_time) VALUES (3, 0, 'h', 20, 9)`,
		`INSERT INTO edge_usage_claims (claim, entry, done, expire_time) VALUES ('c', 'e', 1, 9)`,
		`UPDATE edge_usage_turn SET n = 8`,
		`INSERT INTO edge_cache_purges (tenant, model, collection, revision) VALUES ('acme', 'small', '', 6)`,
		`UPDATE edge_cache_revision SET revision = 6`,
		`INSERT INTO edge_files (id, tenant, subject, filename, purpose, ready, bytes, chunks, sha256, create_time, expire_time, place)
			VALUES ('here', 'acme', 'ada', 'a', 'batch', 1, 5, 1, '', 5, 0, ''), ('elsewhere', 'acme', 'ada', 'b', 'batch', 1, 7, 1, '', 5, 0, 'directory')`,
		`INSERT INTO edge_file_totals (tenant, files, bytes) VALUES ('acme', 2, 12)`,
	}
}
