// Package elastic is the index in Elasticsearch 8. Terms are made on our side
// and scored there by the same BM25; access lists and filters are part of every
// query; a passage is shown only at the generation that a search began with.
//
// One process at a time may use a prefix: each follows the truth for itself.
// What differs from package embedded: a passage's length above 40 terms is kept
// in one byte, so that its score may be some percent off; passages that are
// gone count in BM25's statistics until Elasticsearch merges its segments; a
// vector of zeros is not found; and above Options.Many passages vectors are
// found by a graph, which may miss some. Start reading at Index and collection.
package elastic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/services/search/internal/index"
)

// DefaultMany is how many passages are compared one by one at most.
const DefaultMany = 50_000

// Options say where Elasticsearch is and how it is used.
type Options struct {
	// Addresses are the nodes' URLs.
	Addresses []string
	// Username and Password, or APIKey, say who we are; empty for nobody.
	Username, Password, APIKey string
	// CACert is the PEM of the authority of the nodes' certificates; empty for
	// the system's.
	CACert []byte
	// Prefix begins the names of all that is ours: see ValidPrefix.
	Prefix string
	// Timeout bounds each call, its repetitions included, and SearchTimeout those
	// of a search; 0 means the same.
	Timeout       time.Duration
	SearchTimeout time.Duration
	// Pause is the longest before the second attempt of a call; it doubles.
	// 0 means 200 ms.
	Pause time.Duration
	// Many is above how many passages vectors are found by a graph; 0 means
	// DefaultMany.
	Many int
	// IDs makes indexes' names unique, in lower case.
	IDs   ids.Source
	Clock clock.Clock
}

// ValidPrefix reports whether s can be a prefix: a letter and up to 39 letters,
// digits and underscores, all in lower case. A hyphen ends it in names, so that
// no prefix begins another's names.
func ValidPrefix(s string) bool { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`).MatchString(s) }

// validName reports whether s can name a collection; see package ids.
func validName(s string) bool { return regexp.MustCompile(`^[a-z0-9._-]{1,64}$`).MatchString(s) }

// Index keeps each collection in an index of Elasticsearch, which an alias says
// is whole. Replacing makes another index and moves the alias.
type Index struct {
	client *client
	prefix string
	many   int
	ids    ids.Source

	mu   sync.Mutex
	open map[string]*collection
}

var _ index.Index = (*Index)(nil)

// New returns the index. It makes no call.
func New(o Options) (*Index, error) {
	if !ValidPrefix(o.Prefix) {
		return nil, fmt.Errorf("elasticsearch index: %q cannot be a prefix", o.Prefix)
	}
	if o.Pause <= 0 {
		o.Pause = 200 * time.Millisecond
	}
	if o.Many <= 0 {
		o.Many = DefaultMany
	}
	o.SearchTimeout = cmp.Or(o.SearchTimeout, o.Timeout)
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	return &Index{client: c, prefix: o.Prefix, many: o.Many, ids: o.IDs, open: make(map[string]*collection)}, nil
}

// Open implements index.Index.
func (x *Index) Open(ctx context.Context, name string, opts ...index.Option) (index.Collection, error) {
	if !validName(name) {
		return nil, fmt.Errorf("elasticsearch index: %q cannot name a collection", name)
	}
	x.mu.Lock()
	c := x.open[name]
	if c == nil {
		c = &collection{x: x, name: name, metric: index.NewSettings(opts).Metric}
		x.open[name] = c
	}
	x.mu.Unlock()
	if err := c.load(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Drop implements index.Index.
func (x *Index) Drop(ctx context.Context, name string) error {
	x.mu.Lock()
	c := x.open[name]
	delete(x.open, name)
	x.mu.Unlock()
	if c != nil {
		c.close()
	}
	kept, err := x.kept(ctx)
	if err != nil {
		return err
	}
	for _, k := range kept {
		if k.name == name {
			if err := x.remove(ctx, k.index); err != nil {
				return err
			}
		}
	}
	return nil
}

// Names implements index.Index.
func (x *Index) Names(ctx context.Context) ([]string, error) {
	kept, err := x.kept(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	seen := make(map[string]bool, len(kept))
	for _, k := range kept {
		if !seen[k.name] {
			seen[k.name] = true
			names = append(names, k.name)
		}
	}
	return names, nil
}

// Close implements index.Index.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.open {
		c.close()
	}
	clear(x.open)
	x.client.close()
	return nil
}

// kept is one of our indexes in Elasticsearch.
type kept struct {
	index string
	name  string
	// whole: the alias says so.
	whole bool
}

func (x *Index) alias(name string) string { return x.prefix + "-" + name }

// separator parts a collection's name from what makes an index's name unique.
const separator = "--"

func (x *Index) newIndexName(name string) string {
	return x.alias(name) + separator + strings.ReplaceAll(strings.ToLower(x.ids.New()), separator, "-")
}

func (x *Index) kept(ctx context.Context) ([]kept, error) {
	var answer map[string]struct {
		Aliases map[string]json.RawMessage `json:"aliases"`
	}
	err := x.client.do(ctx, "list", esapi.IndicesGetAliasRequest{Index: []string{x.prefix + "-*"}}, &answer)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []kept
	for idx, a := range answer {
		rest, ours := strings.CutPrefix(idx, x.prefix+"-")
		at := strings.LastIndex(rest, separator)
		if !ours || at <= 0 {
			continue
		}
		k := kept{index: idx, name: rest[:at]}
		_, k.whole = a.Aliases[x.alias(k.name)]
		out = append(out, k)
	}
	return out, nil
}

// remove deletes an index of Elasticsearch; one that is not there is no error.
func (x *Index) remove(ctx context.Context, idx string) error {
	err := x.client.do(ctx, "delete an index", esapi.IndicesDeleteRequest{Index: []string{idx}}, nil)
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// putJSON returns what is sent as a body.
func putJSON(v any) (*bytes.Reader, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch index: %w", err)
	}
	return bytes.NewReader(text), nil
}

// errClosed is what a collection answers after it was dropped or closed.
var errClosed = errors.New("elasticsearch index: the collection is closed")

// errNotReplaced is what a collection answers that has not followed the truth.
var errNotReplaced = errors.New("elasticsearch index: the collection must be replaced first")
