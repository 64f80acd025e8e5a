package embedded

import (
	"log/slog"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// Option changes how an index works.
type Option func(*options)

type options struct {
	logger   *slog.Logger
	encoding vector.Encoding
	limits   limits
	mapped   int64
}

// limits are sizes of files.
type limits struct {
	// seal is how large a log of vectors becomes before it is sealed: what is in
	// it is in memory, too.
	seal int64
	// merge is about how large segments become by merging.
	merge int64
}

// WithLogger has what was damaged told; nobody is told by default.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithEncoding says how vectors are kept; vector.Float32 by default. Vectors that
// are kept otherwise are taken from the truth again.
func WithEncoding(e vector.Encoding) Option { return func(o *options) { o.encoding = e } }

// WithMapped says from how many bytes on of mapped files in the process's memory
// searches give some of them back; 0, the default: never.
func WithMapped(bytes int64) Option { return func(o *options) { o.mapped = bytes } }

func withLimits(l limits) Option { return func(o *options) { o.limits = l } }

func newOptions(opts []Option) options {
	o := options{
		logger: slog.New(slog.DiscardHandler), encoding: vector.Float32,
		limits: limits{seal: 16 << 20, merge: 64 << 20},
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}
