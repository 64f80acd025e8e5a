// Package metrics holds the names of the edge's metrics and log keys, in one
// place so that dashboards and code agree. Names carry their unit; label values
// are bounded.
package metrics

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Scope is the edge's instrumentation scope.
const Scope = "github.com/poterne/poterne/services/edge"

// The metrics. The exporter adds "_total" to counters.
const (
	nameAuthFailures   = "poterne.edge.authentication.failures" // by cause
	nameDenied         = "poterne.edge.authorisation.refusals"  // by resource_type
	nameLimited        = "poterne.edge.limit.refusals"          // by limit: key, address or ban
	nameLimitLocal     = "poterne.edge.limit.local_decisions"
	nameAuditLost      = "poterne.edge.audit.lost_records"
	nameAuditWritten   = "poterne.edge.audit.written_records"
	nameAuditFailures  = "poterne.edge.audit.write_failures"
	nameKeyStoreErrors = "poterne.edge.api_keys.store_failures"
)

// The log keys.
const (
	KeyAddress = "address"
	KeyCause   = "cause"
	KeyKeyID   = "key_id"
	KeyMethod  = "method"
	KeyPath    = "path"
	KeyRecord  = "record"
	KeyRecords = "records"
	KeyTenant  = "tenant"
)

// Metrics counts what the security steps do. It is safe for concurrent use,
// and a nil one counts nothing.
type Metrics struct {
	authFailures   metric.Int64Counter
	denied         metric.Int64Counter
	limited        metric.Int64Counter
	limitLocal     metric.Int64Counter
	auditLost      metric.Int64Counter
	auditWritten   metric.Int64Counter
	auditFailures  metric.Int64Counter
	keyStoreErrors metric.Int64Counter
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
		limited:        counter(nameLimited, "Requests over a limit, by whose limit."),
		limitLocal:     counter(nameLimitLocal, "Limit decisions of this replica alone, since the shared store was away."),
		auditLost:      counter(nameAuditLost, "Audit records that are only in the log, since there was no room."),
		auditWritten:   counter(nameAuditWritten, "Audit records written."),
		auditFailures:  counter(nameAuditFailures, "Failed attempts to write audit records."),
		keyStoreErrors: counter(nameKeyStoreErrors, "Failed reads of the store of API keys."),
	}
	return out, errors.Join(errs...)
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

// Limited counts a request over a limit, "key" or "address", or of an address with a
// "ban".
func (m *Metrics) Limited(ctx context.Context, limit string) {
	if m != nil {
		m.limited.Add(ctx, 1, metric.WithAttributes(attribute.String("limit", limit)))
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

// KeyStoreFailure counts a failed read of the keys.
func (m *Metrics) KeyStoreFailure(ctx context.Context) {
	if m != nil {
		m.keyStoreErrors.Add(ctx, 1)
	}
}
