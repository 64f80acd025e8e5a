// Package metrics holds the names of everything that search counts and logs,
// and the instruments. It knows no other package of the service; start reading
// at New.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/telemetry"
)

// Scope is the name of the meter.
const Scope = "github.com/poterne/poterne/services/search"

// The metrics. Modes and statuses are lists of the contract, so every label is
// bounded.
const (
	nameSearches  = "poterne.search.searches"
	nameDuration  = "poterne.search.duration" // s
	nameDocuments = "poterne.search.documents_written"
	nameFollow    = "poterne.search.index_follow_duration" // s
	nameFollowed  = "poterne.search.index_follows"
	nameQueries   = "poterne.search.query_embeddings"
	nameCounts    = "poterne.search.collection_counts"
	nameReranks   = "poterne.search.reranks"
	nameLeg       = "poterne.search.leg_duration" // s
	nameTokens    = "poterne.search.token_counts" //nolint:gosec // no credential

	nameBehind      = "poterne.search.index_queue" // generations
	nameLag         = "poterne.search.index_lag"   // s
	nameCollections = "poterne.search.collections"
	nameKept        = "poterne.search.documents"
	nameChunks      = "poterne.search.chunks"
	nameAnalyser    = "poterne.search.cluster_analyser"
)

// The labels, which are also the keys of log records.
const (
	KeyMode     = "mode"
	KeyLeg      = "leg"
	KeyDegraded = "degraded"
	KeyStatus   = "status"
	KeyAnew     = "anew"
	KeyOK       = "ok"
	KeyMethod   = "method"
	KeyResult   = "result"
	KeyModel    = "model" // of log records
	KeyLanguage = "language"
)

// Metrics counts. It is safe for concurrent use.
type Metrics struct {
	log       *slog.Logger
	meter     metric.Meter
	building  building
	searches  metric.Int64Counter
	duration  metric.Float64Histogram
	documents metric.Int64Counter
	follow    metric.Float64Histogram
	followed  metric.Int64Counter
	queries   metric.Int64Counter
	counts    metric.Int64Counter
	reranks   metric.Int64Counter
	leg       metric.Float64Histogram
	tokens    metric.Int64Counter

	behind, collections, kept, chunks, analyser metric.Int64Gauge
	lag                                         metric.Float64Gauge
}

// New makes the instruments on meter.
func New(meter metric.Meter, log *slog.Logger) (*Metrics, error) {
	m := &Metrics{log: log, meter: meter}
	bounds := metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	var errs [17]error
	m.searches, errs[0] = meter.Int64Counter(nameSearches,
		metric.WithDescription("Searches answered, by the mode used and whether it is less than what was asked for."))
	m.duration, errs[1] = meter.Float64Histogram(nameDuration, metric.WithUnit("s"), bounds,
		metric.WithDescription("Time of an answered search, by mode."))
	m.documents, errs[2] = meter.Int64Counter(nameDocuments, metric.WithDescription("Documents sent, by what became of them."))
	m.follow, errs[3] = meter.Float64Histogram(nameFollow, metric.WithUnit("s"), bounds,
		metric.WithDescription("Time in which an index followed the documents, by whether it was made anew."))
	m.followed, errs[4] = meter.Int64Counter(nameFollowed,
		metric.WithDescription("How often an index followed the documents, by whether it was made anew and went well."))
	m.queries, errs[5] = meter.Int64Counter(nameQueries,
		metric.WithDescription("Queries whose vector was asked for, by where it came from: hit, shared, made, failed or dropped."))
	m.reranks, errs[6] = meter.Int64Counter(nameReranks,
		metric.WithDescription("Searches that were to be reranked, by whether they were."))
	m.leg, errs[7] = meter.Float64Histogram(nameLeg, metric.WithUnit("s"), bounds,
		metric.WithDescription("Time that the index takes to find one leg's candidates."))
	m.behind, errs[8] = meter.Int64Gauge(nameBehind,
		metric.WithDescription("Changes that are kept and that the indexes have still to follow."))
	m.lag, errs[9] = meter.Float64Gauge(nameLag, metric.WithUnit("s"),
		metric.WithDescription("For how long an index has been behind; 0 when none is."))
	m.collections, errs[10] = meter.Int64Gauge(nameCollections, metric.WithDescription("Collections."))
	m.kept, errs[11] = meter.Int64Gauge(nameKept, metric.WithDescription("Documents in all collections."))
	m.chunks, errs[12] = meter.Int64Gauge(nameChunks, metric.WithDescription("Passages of all documents."))
	m.counts, errs[13] = meter.Int64Counter(nameCounts,
		metric.WithDescription("Collections whose documents a caller may read were counted, by where the count came from: hit, made or failed."))
	m.building, errs[14] = newBuilding(meter)
	m.tokens, errs[15] = meter.Int64Counter(nameTokens,
		metric.WithDescription("Passages counted by the embedding model's own tokeniser, and how often it turned out that they cannot be: counted or estimated."))
	m.analyser, errs[16] = meter.Int64Gauge(nameAnalyser,
		metric.WithDescription("Whether the Elasticsearch cluster has its own analyser of a language: 1 or 0. The service analyses words itself and does not use it."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return m, nil
}

// Indexes is what there is, and how far the indexes have followed it.
type Indexes struct {
	Collections, Documents, Chunks int
	Behind                         int64
	Lag                            time.Duration
}

// Indexed notes where the indexes are.
func (m *Metrics) Indexed(ctx context.Context, now Indexes) {
	m.behind.Record(ctx, now.Behind)
	m.lag.Record(ctx, now.Lag.Seconds())
	m.collections.Record(ctx, int64(now.Collections))
	m.kept.Record(ctx, int64(now.Documents))
	m.chunks.Record(ctx, int64(now.Chunks))
}

// ClusterAnalyser notes whether the cluster has its own analyser of a language,
// one of the service's few.
func (m *Metrics) ClusterAnalyser(ctx context.Context, language string, has bool) {
	var n int64
	if has {
		n = 1
	}
	m.analyser.Record(ctx, n, metric.WithAttributes(attribute.String(KeyLanguage, language)))
}

// Leg notes how long the index took for one leg of a search.
func (m *Metrics) Leg(ctx context.Context, leg string, took time.Duration) {
	m.leg.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String(KeyLeg, leg)))
}

// Search counts an answered search.
func (m *Metrics) Search(ctx context.Context, mode string, degraded bool, took time.Duration) {
	m.searches.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyMode, mode), attribute.Bool(KeyDegraded, degraded)))
	m.duration.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String(KeyMode, mode)))
}

// QueryEmbedded counts a query whose vector was asked for.
func (m *Metrics) QueryEmbedded(ctx context.Context, result string) {
	m.queries.Add(context.WithoutCancel(ctx), 1, metric.WithAttributes(attribute.String(KeyResult, result)))
}

// Counted counts a collection whose documents that a caller may read were asked for.
func (m *Metrics) Counted(ctx context.Context, result string) {
	m.counts.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyResult, result)))
}

// Reranked counts a first page that was to be reranked.
func (m *Metrics) Reranked(ctx context.Context, ok bool) {
	m.reranks.Add(ctx, 1, metric.WithAttributes(attribute.Bool(KeyOK, ok)))
}

// Document counts a document that was sent.
func (m *Metrics) Document(ctx context.Context, status string) {
	m.documents.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyStatus, status)))
}

// Followed counts an index that followed.
func (m *Metrics) Followed(anew bool, took time.Duration, err error) {
	ctx := context.Background()
	m.followed.Add(ctx, 1, metric.WithAttributes(attribute.Bool(KeyAnew, anew), attribute.Bool(KeyOK, err == nil)))
	m.follow.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.Bool(KeyAnew, anew)))
}

// NotServed notes why a call or a document failed for no fault of the
// caller's, who is not shown the cause.
func (m *Metrics) NotServed(ctx context.Context, method string, err error) {
	m.log.WarnContext(ctx, "a request could not be served", slog.String(KeyMethod, method), telemetry.Err(err))
}

// DropFailed notes that the index of a deleted collection is still there.
func (m *Metrics) DropFailed(ctx context.Context, err error) {
	m.log.WarnContext(ctx, "the index of a deleted collection is removed at the next start", telemetry.Err(err))
}

// TokensCounted counts passages whose tokens the model's own tokeniser counted.
func (m *Metrics) TokensCounted(ctx context.Context, texts int) {
	m.tokens.Add(ctx, int64(texts), metric.WithAttributes(attribute.String(KeyResult, "counted")))
}

// TokensEstimated notes that a model's tokens cannot be counted from now on.
func (m *Metrics) TokensEstimated(ctx context.Context, model string, err error) {
	m.tokens.Add(ctx, 1, metric.WithAttributes(attribute.String(KeyResult, "estimated")))
	m.log.WarnContext(ctx, "passages are measured by an estimate: the embedding model's tokens cannot be counted",
		slog.String(KeyModel, model), telemetry.Err(err))
}
