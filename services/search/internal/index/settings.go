package index

// Metric says what makes vectors near. A hit's score is higher for what is
// nearer.
type Metric string

// The metrics.
const (
	// Cosine scores by the cosine of the angle; the default.
	Cosine Metric = "cosine"
	// Dot scores by the inner product.
	Dot Metric = "dot"
	// L2 scores by the square of the Euclidean distance, negated.
	L2 Metric = "l2"
)

// Settings are what a collection's index is opened with.
type Settings struct {
	Metric Metric
}

// Option changes a setting.
type Option func(*Settings)

// WithMetric says what vectors are compared by; "" means Cosine.
func WithMetric(m Metric) Option {
	return func(s *Settings) {
		if m != "" {
			s.Metric = m
		}
	}
}

// NewSettings returns the settings that options make.
func NewSettings(opts []Option) Settings {
	s := Settings{Metric: Cosine}
	for _, o := range opts {
		o(&s)
	}
	return s
}
