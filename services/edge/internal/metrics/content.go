package metrics

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The metrics of contents.
const (
	nameContentKept    = "poterne.edge.audit.kept_contents"
	nameContentMissing = "poterne.edge.audit.missing_contents" // by cause
	nameContentStore   = "poterne.edge.audit.content_store_failures"
)

// Contents counts what is kept of calls' contents. It is safe for concurrent use, and
// a nil one counts nothing.
type Contents struct{ kept, missing, failures metric.Int64Counter }

// NewContents makes the instruments.
func NewContents(m metric.Meter) (*Contents, error) {
	kept, err := m.Int64Counter(nameContentKept, metric.WithDescription("Contents of calls that were encrypted, to be kept."))
	if err != nil {
		return nil, err
	}
	missing, err := m.Int64Counter(nameContentMissing, metric.WithDescription("Contents that were to be kept and could not be, by cause."))
	if err != nil {
		return nil, err
	}
	failures, err := m.Int64Counter(nameContentStore, metric.WithDescription("Failed reads of the store of contents' keys."))
	return &Contents{kept: kept, missing: missing, failures: failures}, err
}

// Kept counts a content.
func (c *Contents) Kept(ctx context.Context) {
	if c != nil {
		c.kept.Add(ctx, 1)
	}
}

// Missing counts a content that is not kept; cause is one of package auditcontent's.
func (c *Contents) Missing(ctx context.Context, cause string) {
	if c != nil {
		c.missing.Add(ctx, 1, metric.WithAttributes(attribute.String("cause", cause)))
	}
}

// StoreFailure counts a failed read.
func (c *Contents) StoreFailure(ctx context.Context) {
	if c != nil {
		c.failures.Add(ctx, 1)
	}
}
