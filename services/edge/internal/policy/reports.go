package policy

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
)

// reportInterval is how often a replica tells the others what it has seen.
const reportInterval = time.Second

// Report is what one replica has seen of a dry run.
type Report struct {
	Replica           string
	Version           int64
	Judged, Different int64
	Seen              []Seen // newest first
	UpdateTime        time.Time
}

// Seen is a request that would have been decided in another way, as it is kept and
// told.
type Seen struct {
	Time        time.Time `json:"time"`
	Replica     string    `json:"-"`
	RequestID   string    `json:"request_id"`
	Tenant      string    `json:"tenant"`
	Subject     string    `json:"subject"`
	Action      string    `json:"action"`
	Resource    string    `json:"resource"`
	Decision    string    `json:"decision"`
	Rule        string    `json:"rule"`
	NewDecision string    `json:"new_decision"`
	NewRule     string    `json:"new_rule"`
}

func seen(d Difference) Seen {
	return Seen{
		Time: d.Time, RequestID: d.RequestID, Tenant: d.Caller.Tenant, Subject: d.Caller.Subject, Action: d.Action, Resource: d.Resource.String(),
		Decision: decisionText(d.Current.Allowed), Rule: d.Current.Rule, NewDecision: decisionText(d.New.Allowed), NewRule: d.New.Rule,
	}
}

// PutReport keeps what a replica has seen, in the place of what it told before. It is
// dropped where that version is tried no longer.
func (s *Store) PutReport(ctx context.Context, tenant string, r Report) error {
	text, err := json.Marshal(r.Seen)
	if err != nil {
		return wrap("encode a report", err)
	}
	_, err = s.db.ExecContext(ctx, `INSERT INTO edge_policy_dry_runs (tenant, replica, version, judged, different, differences, update_time)
		SELECT $1, $2, $3, $4, $5, $6, $7 FROM edge_policies WHERE tenant = $1 AND dry_run_version = $3
		ON CONFLICT (tenant, replica) DO UPDATE SET version = excluded.version, judged = excluded.judged, different = excluded.different,
			differences = excluded.differences, update_time = excluded.update_time`,
		tenant, r.Replica, r.Version, r.Judged, r.Different, string(text), r.UpdateTime.UnixMicro())
	return wrap("keep a report", err)
}

// Reports returns what replicas have told of a tenant's dry run of a version, by name.
func (s *Store) Reports(ctx context.Context, tenant string, version int64) (out []Report, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT replica, version, judged, different, differences, update_time
		FROM edge_policy_dry_runs WHERE tenant = $1 AND version = $2 ORDER BY replica`, tenant, version)
	if err != nil {
		return nil, wrap("read reports", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r Report
		var text string
		var updated int64
		if err := rows.Scan(&r.Replica, &r.Version, &r.Judged, &r.Different, &text, &updated); err != nil {
			return nil, wrap("read reports", err)
		}
		if err := json.Unmarshal([]byte(text), &r.Seen); err != nil {
			return nil, wrap("read reports", err)
		}
		for i := range r.Seen {
			r.Seen[i].Replica = r.Replica
		}
		r.UpdateTime = time.UnixMicro(updated).UTC()
		out = append(out, r)
	}
	return out, wrap("read reports", rows.Err())
}

// forget removes what was told of a tenant's dry run.
func forget(ctx context.Context, tx *sql.Tx, tenant string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM edge_policy_dry_runs WHERE tenant = $1`, tenant); err != nil {
		return fmt.Errorf("forget the reports: %w", err)
	}
	return nil
}

// Reporter tells the store what this replica sees of dry runs. It is safe for
// concurrent use.
type Reporter struct {
	store   *Store
	trial   *Trial
	replica string
	clock   clock.Clock
	log     *slog.Logger
	told    map[string]int64 // how many judged requests of which run were told last
}

// NewReporter returns a reporter for the replica of that name.
func NewReporter(s *Store, t *Trial, replica string, c clock.Clock, log *slog.Logger) *Reporter {
	return &Reporter{store: s, trial: t, replica: replica, clock: c, log: log, told: make(map[string]int64)}
}

// own is what this replica has seen of a tenant's dry run.
func (r *Reporter) own(tenant string) Report {
	st := r.trial.Status(tenant)
	out := Report{Replica: r.replica, Version: st.Version, Judged: st.Judged, Different: st.Different, UpdateTime: r.clock.Now().UTC()}
	for _, d := range st.Differences {
		one := seen(d)
		one.Replica = r.replica
		out.Seen = append(out.Seen, one)
	}
	return out
}

// All returns what every replica has seen of a tenant's dry run; this one as of now,
// the others as of what they told last.
func (r *Reporter) All(ctx context.Context, tenant string) ([]Report, error) {
	st, err := r.store.State(ctx, tenant)
	if err != nil || st.DryRun == 0 {
		return nil, err
	}
	out, err := r.store.Reports(ctx, tenant, st.DryRun)
	if err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(out, func(one Report) bool { return one.Replica == r.replica })
	if own := r.own(tenant); own.Version == st.DryRun {
		out = append(out, own)
	}
	return out, nil
}

// Tell tells the store what it does not know yet.
func (r *Reporter) Tell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	tenants := r.trial.tenants()
	for tenant := range r.told {
		if !slices.Contains(tenants, tenant) {
			delete(r.told, tenant)
		}
	}
	for _, tenant := range tenants {
		own := r.own(tenant)
		if own.Judged == r.told[tenant] {
			continue
		}
		if err := r.store.PutReport(ctx, tenant, own); err != nil {
			return err
		}
		r.told[tenant] = own.Judged
	}
	return nil
}

// Component returns the part that tells the store.
func (r *Reporter) Component() lifecycle.Component {
	return lifecycle.Component{Name: "policy dry runs", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, r.clock, reportInterval, nil, func(ctx context.Context) error {
			if err := r.Tell(ctx); err != nil && ctx.Err() == nil {
				r.log.DebugContext(ctx, "what a dry run would change is told later", telemetry.Err(err))
			}
			return nil
		})
	}}
}
