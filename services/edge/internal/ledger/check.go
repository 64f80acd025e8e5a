package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Difference is something that does not add up.
type Difference struct {
	// Table is hour, day or budget, and Row what of it.
	Table, Row string
	// Recorded is what the row has, and Computed what the requests come to.
	Recorded, Computed string
}

// Report is what checking found.
type Report struct {
	// Requests is how many were added up.
	Requests int64
	// Count is how many things are wrong; Differences has the first of them.
	Count       int64
	Differences []Difference
}

const maxDifferences = 100

func (r *Report) differ(d Difference) {
	if r.Count++; len(r.Differences) < maxDifferences {
		r.Differences = append(r.Differences, d)
	}
}

// Check adds up the requests of whole days (UTC), and all that ever counted against
// budgets, and compares with the sums. Of days that were folded nothing is left to add
// up. It sees one state of the store.
func (s *SQLStore) Check(ctx context.Context, from, to time.Time) (*Report, error) {
	report := new(Report)
	err := s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error {
		*report = Report{}
		kept, err := keptFrom(ctx, tx)
		if err != nil {
			return err
		}
		for day := max(from.UnixMicro()-from.UnixMicro()%dayMicros, kept); day < to.UnixMicro(); day += dayMicros {
			if err := checkDay(ctx, tx, day, report); err != nil {
				return err
			}
		}
		return checkBudgets(ctx, tx, report)
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: check: %w", err)
	}
	return report, nil
}

const keyColumns = `tenant, key_id, subject, kind, model, version, variant, experiment, arm`

// checkDay compares the sums of a day, and of its hours, with its requests.
func checkDay(ctx context.Context, tx *sql.Tx, day int64, report *Report) error {
	for _, r := range []struct {
		table, name string
		size        int64
	}{{"edge_usage_hours", ByHour, hourMicros}, {"edge_usage_days", ByDay, dayMicros}} {
		computed, err := sums(ctx, tx, fmt.Sprintf(`SELECT time_us - time_us %% %d AS k, %s, CAST(SUM(CASE WHEN outcome <> 'cached' THEN 1 ELSE 0 END) AS BIGINT),
			CAST(SUM(CASE WHEN outcome NOT IN ('whole', 'cached') THEN 1 ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN price = 0 AND outcome <> 'cached' THEN 1 ELSE 0 END) AS BIGINT),
			CAST(SUM(input) AS BIGINT), CAST(SUM(cached) AS BIGINT), CAST(SUM(output) AS BIGINT), CAST(SUM(cost) AS BIGINT),
			CAST(SUM(hit) AS BIGINT), CAST(SUM(saved_input) AS BIGINT), CAST(SUM(saved_output) AS BIGINT),
			CAST(SUM(reasoning) AS BIGINT), CAST(SUM(audio_input) AS BIGINT), CAST(SUM(audio_output) AS BIGINT), CAST(SUM(documents) AS BIGINT)
			FROM edge_usage WHERE time_us >= $1 AND time_us < $2 GROUP BY k, %s`, r.size, keyColumns, keyColumns), day, day+dayMicros)
		if err != nil {
			return err
		}
		recorded, err := sums(ctx, tx, `SELECT `+sumColumns+` FROM `+r.table+` WHERE start_us >= $1 AND start_us < $2`, day, day+dayMicros)
		if err != nil {
			return err
		}
		if r.name == ByDay {
			for _, v := range computed {
				report.Requests += v.requests
			}
		}
		for k, v := range computed {
			if recorded[k] != v {
				report.differ(difference(r.name, k, recorded[k], v))
			}
		}
		for k, v := range recorded {
			if _, ok := computed[k]; !ok {
				report.differ(difference(r.name, k, v, sum{}))
			}
		}
	}
	return nil
}

func difference(table string, k sumKey, recorded, computed sum) Difference {
	return Difference{
		Table:    table,
		Row:      fmt.Sprintf("%s %+v", time.UnixMicro(k.start).UTC().Format(time.RFC3339), k.Dimensions),
		Recorded: fmt.Sprintf("%+v", recorded), Computed: fmt.Sprintf("%+v", computed),
	}
}

func sums(ctx context.Context, tx *sql.Tx, query string, args ...any) (out map[sumKey]sum, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = make(map[sumKey]sum)
	for rows.Next() {
		var k sumKey
		var v sum
		if err := rows.Scan(&k.start, &k.Tenant, &k.KeyID, &k.Subject, &k.Kind, &k.Model, &k.Version, &k.Variant, &k.Experiment, &k.Arm,
			&v.requests, &v.partial, &v.unpriced, &v.input, &v.cached, &v.output, &v.cost, &v.hits, &v.savedInput, &v.savedOutput,
			&v.reasoning, &v.audioInput, &v.audioOutput, &v.documents); err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, rows.Err()
}

// checkBudgets compares what is settled of budgets with what counted against them.
func checkBudgets(ctx context.Context, tx *sql.Tx, report *Report) error {
	computed, err := amounts(ctx, tx, `SELECT budget, period, CAST(SUM(amount) AS BIGINT) FROM edge_usage_charges GROUP BY budget, period`)
	if err != nil {
		return err
	}
	recorded, err := amounts(ctx, tx, `SELECT budget, period, settled FROM edge_budget_counters`)
	if err != nil {
		return err
	}
	for p, n := range computed {
		if recorded[p] != n {
			report.differ(budgetDifference(p, recorded[p], n))
		}
	}
	for p, n := range recorded {
		if _, ok := computed[p]; !ok && n != 0 {
			report.differ(budgetDifference(p, n, 0))
		}
	}
	return nil
}

func budgetDifference(p Period, recorded, computed int64) Difference {
	return Difference{
		Table: "budget", Row: fmt.Sprintf("%d from %s", p.Budget, time.UnixMicro(p.Start).UTC().Format(time.RFC3339)),
		Recorded: fmt.Sprint(recorded), Computed: fmt.Sprint(computed),
	}
}

func amounts(ctx context.Context, tx *sql.Tx, query string) (out map[Period]int64, err error) {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = make(map[Period]int64)
	for rows.Next() {
		var p Period
		var n int64
		if err := rows.Scan(&p.Budget, &p.Start, &n); err != nil {
			return nil, err
		}
		out[p] = n
	}
	return out, rows.Err()
}
