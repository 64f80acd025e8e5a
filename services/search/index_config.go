package search

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
	"github.com/poterne/poterne/services/search/internal/index/embedded"
	"github.com/poterne/poterne/services/search/internal/vector"
)

// The kinds of index.
const (
	// KindEmbedded needs no server: words and vectors on disk.
	KindEmbedded = "embedded"
	// KindElasticsearch keeps both in an Elasticsearch 8 cluster.
	KindElasticsearch = "elasticsearch"
)

// Index says where the derived indexes are. One process at a time may use one.
type Index struct {
	// Kind is embedded or elasticsearch.
	Kind string `yaml:"kind"`
	// Dir is the embedded index's directory. It may be removed while the process
	// is not running: the next start makes it anew.
	Dir string `yaml:"dir"`
	// Vectors says how the embedded index keeps vectors: float32 keeps them as
	// they are, int8 in a quarter of that, so that the order of hits that are
	// almost alike may change. The index is made anew when it changes.
	Vectors string `yaml:"vectors"`
	// MappedBytes is from how much on of the embedded index's files in the
	// process's memory (mapped, and the system's to take back) searches give some
	// back; 0: never. It is known on Linux alone.
	MappedBytes config.Bytes `yaml:"mapped_bytes"`
	// Elasticsearch is used by that kind alone.
	Elasticsearch Elasticsearch `yaml:"elasticsearch"`
	// PollInterval is how soon, at the latest, what another process wrote to the
	// same store can be found.
	PollInterval time.Duration `yaml:"poll_interval"`
}

// Elasticsearch says how a cluster is reached.
type Elasticsearch struct {
	// Addresses are the nodes' URLs, without credentials.
	Addresses []string `yaml:"addresses"`
	// Username and Password, or APIKey, say who we are to the cluster.
	Username string        `yaml:"username"`
	Password config.Secret `yaml:"password"`
	APIKey   config.Secret `yaml:"api_key"`
	// CAFile is the PEM file of the authority that the nodes' certificates come
	// from; empty for those that the system knows.
	CAFile string `yaml:"ca_file"`
	// Prefix begins the names of our indexes. Every search process, and every
	// deployment, on one cluster needs its own.
	Prefix string `yaml:"prefix"`
	// Timeout bounds each call to the cluster, its repetitions included, and
	// SearchTimeout those of a search, whose caller may ask for less.
	Timeout       time.Duration `yaml:"timeout"`
	SearchTimeout time.Duration `yaml:"search_timeout"`
}

func defaultIndex() Index {
	return Index{
		Kind: KindEmbedded, Dir: "poterne-search-index", Vectors: string(vector.Float32), PollInterval: time.Second,
		MappedBytes:   config.GiB,
		Elasticsearch: Elasticsearch{Prefix: "poterne", Timeout: 30 * time.Second, SearchTimeout: 5 * time.Second},
	}
}

func (c Index) validate(p *config.Problems) {
	switch c.Kind {
	case KindElasticsearch:
		c.Elasticsearch.validate(p, "index.elasticsearch")
	default:
		p.Check(c.Kind == KindEmbedded, "index.kind", "must be embedded or elasticsearch, got %q", c.Kind)
		p.Check(c.Vectors == string(vector.Float32) || c.Vectors == string(vector.Int8), "index.vectors",
			"must be float32 or int8, got %q", c.Vectors)
		p.Check(c.MappedBytes >= 0 && c.MappedBytes <= 1024*config.GiB, "index.mapped_bytes",
			"must be from 0 to 1024GiB, got %v", c.MappedBytes)
		p.Check(c.Dir != "", "index.dir", "must name a directory")
	}
	p.Check(c.PollInterval > 0, "index.poll_interval", "must be positive, got %v", c.PollInterval)
}

func (c Elasticsearch) validate(p *config.Problems, prefix string) {
	p.Check(len(c.Addresses) > 0, prefix+".addresses", "must name a node")
	for i, a := range c.Addresses {
		u, err := url.Parse(a)
		ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
		// Not the address itself, which may hold a password.
		p.Check(ok, fmt.Sprintf("%s.addresses[%d]", prefix, i), "must be an http or https URL without credentials")
	}
	p.Check((c.Username == "") == (c.Password == ""), prefix+".password", "must be given with username, and only with it")
	p.Check(c.Username == "" || c.APIKey == "", prefix+".api_key", "must be empty when there is a username")
	p.Check(elastic.ValidPrefix(c.Prefix), prefix+".prefix",
		"must be a letter and up to 39 letters, digits and underscores, in lower case, got %q", c.Prefix)
	p.Check(c.Timeout >= time.Second && c.Timeout <= 10*time.Minute, prefix+".timeout", "must be from 1s to 10m, got %v", c.Timeout)
	p.Check(c.SearchTimeout >= 10*time.Millisecond && c.SearchTimeout <= c.Timeout, prefix+".search_timeout",
		"must be from 10ms to the timeout, got %v", c.SearchTimeout)
}

// open opens the index that the configuration names.
func (c Index) open(clk clock.Clock, log *slog.Logger) (index.Index, error) {
	if c.Kind != KindElasticsearch {
		return embedded.New(c.Dir, embedded.WithLogger(log), embedded.WithEncoding(vector.Encoding(c.Vectors)),
			embedded.WithMapped(int64(c.MappedBytes)))
	}
	e := c.Elasticsearch
	var ca []byte
	if e.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(e.CAFile); err != nil {
			return nil, fmt.Errorf("index.elasticsearch.ca_file: %w", err)
		}
	}
	return elastic.New(elastic.Options{
		Addresses: e.Addresses, Username: e.Username, Password: e.Password.Reveal(), APIKey: e.APIKey.Reveal(), CACert: ca,
		Prefix: e.Prefix, Timeout: e.Timeout, SearchTimeout: e.SearchTimeout, IDs: ids.UUIDv7(), Clock: clk,
	})
}
