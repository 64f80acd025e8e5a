package search

import (
	"time"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
	"github.com/poterne/poterne/services/search/internal/embedding"
)

// The names of the services in discovery.
const (
	// ServiceName is this service's own.
	ServiceName = "poterne-search"
	// InferenceName is the inference service's.
	InferenceName = "poterne-inference"
)

// Config is the configuration of the search service.
type Config struct {
	GRPC      grpcserver.Config `yaml:"grpc"`
	Telemetry telemetry.Config  `yaml:"telemetry"`
	Discovery backend.Config    `yaml:"discovery"`
	// Identity says how callers are proven.
	Identity assertion.Config `yaml:"identity"`
	// Transport says whether anything may be in the clear.
	Transport tlsfiles.Requirement `yaml:"security"`
	// Inference says how the inference service is connected to.
	Inference Inference `yaml:"inference"`
	// Store is where documents are kept: the truth.
	Store     sqldb.Config `yaml:"store"`
	Index     Index        `yaml:"index"`
	Embedding Embedding    `yaml:"embedding"`
	Reranking Reranking    `yaml:"reranking"`
	Chunking  Chunking     `yaml:"chunking"`
	Files     Files        `yaml:"files"`
	Import    Import       `yaml:"import"`
	Expiry    Expiry       `yaml:"expiry"`
	Limits    Limits       `yaml:"limits"`
	// DrainTimeout is how long calls in hand may take once the process is asked
	// to end.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// Inference says how the inference service is reached.
type Inference struct {
	TLS tlsfiles.Config `yaml:"tls"`
}

// Embedding says how texts become vectors.
type Embedding struct {
	// Model is the reference of collections that name none, as the inference
	// service takes it. The version that embeds a collection's first document is
	// asked for ever after.
	Model string `yaml:"model"`
	// Batch is the most passages of one call, and BatchBytes the most bytes. A
	// query may have to wait for one batch on a busy engine.
	Batch      int          `yaml:"batch"`
	BatchBytes config.Bytes `yaml:"batch_bytes"`
	// Concurrency is how many calls with passages may be in flight together.
	Concurrency int `yaml:"concurrency"`
	// PassageTimeout and QueryTimeout bound one call.
	PassageTimeout time.Duration `yaml:"passage_timeout"`
	QueryTimeout   time.Duration `yaml:"query_timeout"`
	// QueryCacheBytes is how much of the vectors of queries is remembered, for each
	// tenant apart: some 2 KB a query at 384 dimensions. 0 remembers none.
	QueryCacheBytes config.Bytes `yaml:"query_cache_bytes"`
	Rebuild         Rebuild      `yaml:"rebuild"`
	// KeepRetired is for how long an embedding generation that served is kept, and
	// follows writes, so that it can serve again; a new one ends that, too.
	KeepRetired time.Duration `yaml:"keep_retired"`
}

// Rebuild bounds the work on embedding generations that do not serve. It is done
// behind all other work of the model, and should leave room for searches.
type Rebuild struct {
	// ChunksPerSecond is how many passages are embedded at most while one is
	// built; 0 does not bound them. Documents written meanwhile are not held up.
	ChunksPerSecond float64 `yaml:"chunks_per_second"`
	// Share is the part of the time in which calls may be in flight while one is
	// built, above 0 and up to 1: where the model runs on the machines that answer
	// searches, these have the rest.
	Share float64 `yaml:"share"`
	// Batch is the most passages of one call: a query may have to wait for it.
	Batch int `yaml:"batch"`
	// Concurrency is how many calls may be in flight together.
	Concurrency int `yaml:"concurrency"`
	// Lease is after how long without a sign of life from the process that builds
	// another goes on.
	Lease time.Duration `yaml:"lease"`
}

// Reranking says how hits are reranked for searches that ask for it.
type Reranking struct {
	// Timeout bounds one call; a search is answered without it afterwards.
	Timeout time.Duration `yaml:"timeout"`
}

// Chunking says how documents are cut into passages.
type Chunking struct {
	// MaxWords is the length of a passage; 256 words suit models of 512 tokens.
	MaxWords int `yaml:"max_words"`
	// OverlapWords is how much a passage may repeat of the one before.
	OverlapWords int `yaml:"overlap_words"`
}

// Files says how documents are read that come as files.
type Files struct {
	// CacheDir is where the compiled sandbox that PDFs are read in is kept (some
	// 30 MB): making it takes seconds. Empty, or where it cannot be written: in the
	// user's cache directory, else in a temporary one as long as the process runs. It
	// has to be this user's alone.
	CacheDir string `yaml:"cache_dir"`
}

// Import says how streams of documents are taken in.
type Import struct {
	// BatchDocuments and BatchBytes bound what is taken in together, and Window
	// how many such batches of one stream are in hand.
	BatchDocuments int          `yaml:"batch_documents"`
	BatchBytes     config.Bytes `yaml:"batch_bytes"`
	Window         int          `yaml:"window"`
	// Heartbeat is after how much silence a stream is told how far it is.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// IdleTimeout ends a stream that sends nothing.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// Patience is how long documents are tried again while the embedding model or
	// the store is away, before the stream ends.
	Patience time.Duration `yaml:"patience"`
	// Streams is how many imports this process runs at a time, and TenantStreams
	// how many of one tenant.
	Streams       int `yaml:"streams"`
	TenantStreams int `yaml:"tenant_streams"`
}

// Expiry says how documents are removed that have ended.
type Expiry struct {
	// Interval is how long one may still take room that nobody is shown.
	Interval time.Duration `yaml:"interval"`
	// Batch is how many are removed as one change.
	Batch int `yaml:"batch"`
}

// Limits bound what tenants may have.
type Limits struct {
	// Collections is how many collections a tenant may have.
	Collections int `yaml:"collections"`
	// CollectionChunks is how many passages a collection may have: each has
	// a sketch in memory, 48 bytes at 384 dimensions, and a vector in mapped files.
	CollectionChunks int `yaml:"collection_chunks"`
	// RestoreBytes is how large a backup may be that is restored, and SpoolDir where
	// it is kept until all of it is there; empty for the system's temporary files.
	RestoreBytes config.Bytes `yaml:"restore_bytes"`
	SpoolDir     string       `yaml:"spool_dir"`
}

// DefaultConfig returns the defaults of a process of its own.
func DefaultConfig() *Config {
	cfg := &Config{
		GRPC:      grpcserver.DefaultConfig("127.0.0.1:9092"),
		Telemetry: telemetry.DefaultConfig("127.0.0.1:9102"),
		Discovery: backend.DefaultConfig(),
		Identity:  assertion.DefaultConfig(),
		Inference: Inference{TLS: tlsfiles.DefaultConfig()},
		Store:     sqldb.DefaultConfig("sqlite:poterne-search.db"),
		Index:     defaultIndex(),
		Embedding: Embedding{
			Model: "multilingual-e5-small", Batch: 16, BatchBytes: 64 * config.KiB, Concurrency: 2,
			PassageTimeout: 2 * time.Minute, QueryTimeout: 10 * time.Second, QueryCacheBytes: 32 * config.MiB,
			Rebuild:     Rebuild{ChunksPerSecond: 50, Share: 0.25, Batch: 4, Concurrency: 1, Lease: 15 * time.Second},
			KeepRetired: 24 * time.Hour,
		},
		Reranking: Reranking{Timeout: 10 * time.Second},
		Chunking:  Chunking{MaxWords: 256, OverlapWords: 30},
		Import: Import{
			BatchDocuments: 256, BatchBytes: 2 * config.MiB, Window: 3, Heartbeat: 5 * time.Second,
			IdleTimeout: 2 * time.Minute, Patience: 20 * time.Second, Streams: 16, TenantStreams: 4,
		},
		Expiry:       Expiry{Interval: 2 * time.Second, Batch: 500},
		Limits:       Limits{Collections: 1000, CollectionChunks: 1_000_000, RestoreBytes: 8 * config.GiB},
		DrainTimeout: 30 * time.Second,
	}
	// A batch of documents, and the metadata of many hits.
	cfg.GRPC.MaxRecvBytes = 20 * config.MiB
	cfg.GRPC.MaxSendBytes = 64 * config.MiB
	return cfg
}

// Complete checks the configuration. The error lists every problem.
func (c *Config) Complete() error {
	var p config.Problems
	c.GRPC.Validate(&p, "grpc")
	c.Telemetry.Validate(&p, "telemetry")
	c.Discovery.Validate(&p, "discovery")
	c.Identity.Validate(&p, "identity", identityEnds())
	c.Inference.TLS.Validate(&p, "inference.tls")
	c.Transport.Validate(&p, c.Telemetry.OpsAddr, map[string]tlsfiles.Config{"grpc.tls": c.GRPC.TLS, "inference.tls": c.Inference.TLS})
	c.Store.Validate(&p, "store")
	c.Index.validate(&p)
	positive := func(path string, d time.Duration) { p.Check(d > 0, path, "must be positive, got %v", d) }
	positive("embedding.passage_timeout", c.Embedding.PassageTimeout)
	positive("embedding.query_timeout", c.Embedding.QueryTimeout)
	positive("reranking.timeout", c.Reranking.Timeout)
	positive("import.heartbeat", c.Import.Heartbeat)
	positive("import.idle_timeout", c.Import.IdleTimeout)
	positive("expiry.interval", c.Expiry.Interval)
	positive("drain_timeout", c.DrainTimeout)
	p.Check(c.Embedding.QueryCacheBytes >= 0 && c.Embedding.QueryCacheBytes <= 16*config.GiB, "embedding.query_cache_bytes",
		"must be from 0 to 16GiB, got %v", c.Embedding.QueryCacheBytes)
	between := func(path string, n, low, high int) {
		p.Check(n >= low && n <= high, path, "must be from %d to %d, got %d", low, high, n)
	}
	p.Check(embedding.ValidReference(c.Embedding.Model), "embedding.model",
		"must be the name of a registered model, such as multilingual-e5-small or e5@production, got %q", c.Embedding.Model)
	between("embedding.batch", c.Embedding.Batch, 1, 2048)
	p.Check(c.Embedding.BatchBytes >= config.KiB && c.Embedding.BatchBytes <= 8*config.MiB, "embedding.batch_bytes",
		"must be from 1KiB to 8MiB, got %v", c.Embedding.BatchBytes)
	p.Check(c.Embedding.Rebuild.ChunksPerSecond >= 0 && c.Embedding.Rebuild.ChunksPerSecond <= 1_000_000,
		"embedding.rebuild.chunks_per_second", "must be from 0 to 1000000, got %v", c.Embedding.Rebuild.ChunksPerSecond)
	p.Check(c.Embedding.Rebuild.Share > 0 && c.Embedding.Rebuild.Share <= 1,
		"embedding.rebuild.share", "must be above 0 and at most 1, got %v", c.Embedding.Rebuild.Share)
	between("embedding.rebuild.batch", c.Embedding.Rebuild.Batch, 1, 2048)
	between("embedding.rebuild.concurrency", c.Embedding.Rebuild.Concurrency, 1, 256)
	p.Check(c.Embedding.Rebuild.Lease >= time.Second && c.Embedding.Rebuild.Lease <= time.Hour,
		"embedding.rebuild.lease", "must be from 1s to 1h, got %v", c.Embedding.Rebuild.Lease)
	p.Check(c.Embedding.KeepRetired >= 0, "embedding.keep_retired", "must not be negative, got %v", c.Embedding.KeepRetired)
	between("embedding.concurrency", c.Embedding.Concurrency, 1, 256)
	between("chunking.max_words", c.Chunking.MaxWords, 20, 2000)
	between("chunking.overlap_words", c.Chunking.OverlapWords, 0, c.Chunking.MaxWords/2)
	between("import.batch_documents", c.Import.BatchDocuments, 1, 1000)
	p.Check(c.Import.BatchBytes >= 64*config.KiB && c.Import.BatchBytes <= 64*config.MiB, "import.batch_bytes",
		"must be from 64KiB to 64MiB, got %v", c.Import.BatchBytes)
	between("import.window", c.Import.Window, 1, 64)
	p.Check(c.Import.Patience >= 0, "import.patience", "must not be negative, got %v", c.Import.Patience)
	between("import.streams", c.Import.Streams, 1, 10_000)
	between("import.tenant_streams", c.Import.TenantStreams, 1, c.Import.Streams)
	between("expiry.batch", c.Expiry.Batch, 1, 10_000)
	between("limits.collections", c.Limits.Collections, 1, 1_000_000)
	p.Check(c.Limits.RestoreBytes >= config.MiB, "limits.restore_bytes", "must be at least 1MiB, got %v", c.Limits.RestoreBytes)
	between("limits.collection_chunks", c.Limits.CollectionChunks, 1, 100_000_000)
	return p.Err()
}
