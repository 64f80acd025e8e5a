// Package metrics holds the names of the edge's metrics and log keys, in one
// place so that dashboards and code agree. Names carry their unit; label values
// are bounded.
package metrics

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Scope is the edge's instrumentation scope.
const Scope = "github.com/poterne/poterne/services/edge"

// The metrics. The exporter adds "_total" to counters.
const (
	nameAuthFailures   = "poterne.edge.authentication.failures" // by cause
	nameDenied         = "poterne.edge.authorisation.refusals"  // by resource_type
	nameGrant          = "poterne.edge.grant.refusals"          // by list: scopes, models or collections
	nameLimited        = "poterne.edge.limit.refusals"          // by limit: key, address or ban
	nameLimitLocal     = "poterne.edge.limit.local_decisions"
	nameAuditLost      = "poterne.edge.audit.lost_records"
	nameAuditWritten   = "poterne.edge.audit.written_records"
	nameAuditFailures  = "poterne.edge.audit.write_failures"
	nameAuditPlaces    = "poterne.edge.audit.place_failures"  // by place
	nameAuditSize      = "poterne.edge.audit.checkpoint_size" // records
	nameAuditSigned    = "poterne.edge.audit.checkpoint_time" // s since 1970
	nameKeyStoreErrors = "poterne.edge.api_keys.store_failures"
	nameDetections     = "poterne.edge.detections" // by kind, action and side
	nameSessionErrors  = "poterne.edge.sessions.store_failures"
	nameLogins         = "poterne.edge.login.outcomes"   // by outcome: one of package login's
	nameLogouts        = "poterne.edge.provider_logouts" // by outcome: one of package login's
)

// The log keys.
const (
	KeyAddress    = "address"
	KeyCause      = "cause"
	KeyChain      = "chain"
	KeyCheckpoint = "checkpoint"
	KeyKeyID      = "key_id"
	KeyMethod     = "method"
	KeyPath       = "path"
	KeyPlace      = "place"
	KeyRecord     = "record"
	KeyRecords    = "records"
	KeySkipped    = "skipped"
	KeyTenant     = "tenant"
	KeyOutcome    = "outcome"
	KeySession    = "session"
)

// Metrics counts what the security steps do. It is safe for concurrent use,
// and a nil one counts nothing.
type Metrics struct {
	authFailures   metric.Int64Counter
	denied         metric.Int64Counter
	grant          metric.Int64Counter
	limited        metric.Int64Counter
	limitLocal     metric.Int64Counter
	auditLost      metric.Int64Counter
	auditWritten   metric.Int64Counter
	auditFailures  metric.Int64Counter
	auditPlaces    metric.Int64Counter
	auditSize      metric.Int64Gauge
	auditSigned    metric.Float64Gauge
	keyStoreErrors metric.Int64Counter
	detections     metric.Int64Counter
	sessionErrors  metric.Int64Counter
	logins         metric.Int64Counter
	logouts        metric.Int64Counter
}

// New makes the instruments.
func New(m metric.Meter) (*Metrics, error) {
	var errs []error
	counter := func(name, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	out := &Metrics{
		authFailures:   counter(nameAuthFailures, "Requests whose credentials were refused, by cause."),
		denied:         counter(nameDenied, "Requests that the policy refused, by the type of resource."),
		grant:          counter(nameGrant, "Requests for what the credentials are not for, by the list of their grant."),
		limited:        counter(nameLimited, "Requests over a limit, by whose limit."),
		limitLocal:     counter(nameLimitLocal, "Limit decisions of this replica alone, since the shared store was away."),
		auditLost:      counter(nameAuditLost, "Audit records that are only in the log, since there was no room."),
		auditWritten:   counter(nameAuditWritten, "Audit records written."),
		auditFailures:  counter(nameAuditFailures, "Failed attempts to write audit records."),
		keyStoreErrors: counter(nameKeyStoreErrors, "Failed reads of the store of API keys."),
		detections:     counter(nameDetections, "What the detectors found, by kind, by what was done, and by side."),
		sessionErrors:  counter(nameSessionErrors, "Failed reads and writes of the store of sessions."),
		logins:         counter(nameLogins, "Attempts to log in to the web pages, by what came of them."),
		logouts:        counter(nameLogouts, "Logout tokens that were sent here, by what came of them."),
	}
	var err1, err2 error
	out.auditPlaces = counter(nameAuditPlaces, "Failed deliveries of audit checkpoints to where they are kept besides the store, by place.")
	out.auditSize, err1 = m.Int64Gauge(nameAuditSize, metric.WithDescription("Records of this process's audit chain that its last checkpoint covers."))
	out.auditSigned, err2 = m.Float64Gauge(nameAuditSigned, metric.WithUnit("s"), metric.WithDescription("When the last audit checkpoint was signed, in seconds since 1970."))
	return out, errors.Join(append(errs, err1, err2)...)
}

// AuthFailure counts refused credentials; cause is one of package authn's.
func (m *Metrics) AuthFailure(ctx context.Context, cause string) {
	if m != nil {
		m.authFailures.Add(ctx, 1, metric.WithAttributes(attribute.String("cause", cause)))
	}
}

// Denied counts a refusal by the policy; resourceType comes from its table.
func (m *Metrics) Denied(ctx context.Context, resourceType string) {
	if m != nil {
		m.denied.Add(ctx, 1, metric.WithAttributes(attribute.String("resource_type", resourceType)))
	}
}

// GrantRefused counts a request for what the credentials are not for; list is one
// of a grant's.
func (m *Metrics) GrantRefused(ctx context.Context, list string) {
	if m != nil {
		m.grant.Add(ctx, 1, metric.WithAttributes(attribute.String("list", list)))
	}
}

// Limited counts a request over a limit, "key" or "address", or of an address with a
// "ban".
func (m *Metrics) Limited(ctx context.Context, limit string) {
	if m != nil {
		m.limited.Add(ctx, 1, metric.WithAttributes(attribute.String("limit", limit)))
	}
}

// ProviderLogout counts a logout token that was sent; outcome is one of package
// login's.
func (m *Metrics) ProviderLogout(ctx context.Context, outcome string) {
	if m != nil {
		m.logouts.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	}
}

// LimitLocal counts a decision of this replica alone.
func (m *Metrics) LimitLocal(ctx context.Context) {
	if m != nil {
		m.limitLocal.Add(ctx, 1)
	}
}

// AuditLost counts records that are only in the log.
func (m *Metrics) AuditLost(ctx context.Context, n int) {
	if m != nil {
		m.auditLost.Add(ctx, int64(n))
	}
}

// AuditWritten counts records written.
func (m *Metrics) AuditWritten(ctx context.Context, n int) {
	if m != nil {
		m.auditWritten.Add(ctx, int64(n))
	}
}

// AuditFailure counts a failed write.
func (m *Metrics) AuditFailure(ctx context.Context) {
	if m != nil {
		m.auditFailures.Add(ctx, 1)
	}
}

// AuditPlaceFailure counts a checkpoint that a place did not take; place is one of
// directory, witness and log.
func (m *Metrics) AuditPlaceFailure(ctx context.Context, place string) {
	if m != nil {
		m.auditPlaces.Add(ctx, 1, metric.WithAttributes(attribute.String("place", place)))
	}
}

// AuditCheckpoint tells of the last checkpoint.
func (m *Metrics) AuditCheckpoint(ctx context.Context, size int64, at time.Time) {
	if m != nil {
		m.auditSize.Record(ctx, size)
		m.auditSigned.Record(ctx, float64(at.UnixMilli())/1000)
	}
}

// KeyStoreFailure counts a failed read of the keys.
func (m *Metrics) KeyStoreFailure(ctx context.Context) {
	if m != nil {
		m.keyStoreErrors.Add(ctx, 1)
	}
}

// Detected counts what a detector found; all three come from lists of package
// detect.
func (m *Metrics) Detected(ctx context.Context, kind, action, side string) {
	if m != nil {
		m.detections.Add(ctx, 1, metric.WithAttributes(
			attribute.String("kind", kind), attribute.String("action", action), attribute.String("side", side)))
	}
}

// SessionStoreFailure counts a failed read or write of the sessions.
func (m *Metrics) SessionStoreFailure(ctx context.Context) {
	if m != nil {
		m.sessionErrors.Add(ctx, 1)
	}
}

// Login counts an attempt to log in; outcome is one of package login's.
func (m *Metrics) Login(ctx context.Context, outcome string) {
	if m != nil {
		m.logins.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	}
}
