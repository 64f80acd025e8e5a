package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/pkg/testkit"
)

// node is an Elasticsearch node of its own, asked without our service: what
// people build by hand.
type node struct {
	dir     string
	url     string
	process *process.Process
}

// rawIndex is the name of the index that is written by hand.
const rawIndex = "raw"

// openNode starts a node with a gigabyte of heap, as the anchors have it.
func openNode(ctx context.Context) (_ *node, err error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	unpacked := os.Getenv(testkit.EnvElasticsearch)
	if unpacked == "" {
		found, err := filepath.Glob(filepath.Join(home, ".cache", "poterne", "elasticsearch", "*"))
		if err != nil || len(found) == 0 {
			return nil, errors.New("no Elasticsearch is there: scripts/components.sh elasticsearch gets it")
		}
		unpacked = found[len(found)-1]
	}
	dir, err := os.MkdirTemp("", "poterne-bench-elasticsearch-")
	if err != nil {
		return nil, err
	}
	n := &node{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	ports, err := process.FreePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"log", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	at := filepath.Join(dir, "node")
	if err := os.Mkdir(at, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // its owner passes through
		return nil, err
	}
	const owner = "nobody"
	credential, err := process.Unprivileged(owner)
	if err != nil {
		return nil, err
	}
	if err := testkit.LayOutElasticsearch(unpacked, at, owner, ports); err != nil {
		return nil, err
	}
	n.url = "http://127.0.0.1:" + strconv.Itoa(ports[0])
	n.process = process.New(process.Spec{
		Name: "elasticsearch", Path: filepath.Join(at, "bin", "elasticsearch"), Dir: at, User: credential,
		Env:   testkit.ElasticsearchEnv(at, "1g"),
		Ready: process.HTTPReady(n.url+"/_cluster/health?wait_for_status=yellow&timeout=1s", nil),
	}, dir)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return n, n.process.Start(ctx)
}

func (n *node) close() error {
	var err error
	if n.process != nil {
		err = n.process.Stop()
	}
	return errors.Join(err, os.RemoveAll(n.dir))
}

// call makes a call and reads its answer into out, which may be nil.
func (n *node) call(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, n.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: HTTP %d: %.300s", method, path, resp.StatusCode, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// create makes an index for the corpus as one would by hand, with that kind of
// vectors.
func (n *node) create(ctx context.Context, name, vectors string) error {
	return n.call(ctx, http.MethodPut, "/"+name, []byte(`{
  "settings": {"number_of_shards": 1, "number_of_replicas": 0},
  "mappings": {"dynamic": "strict", "properties": {
    "id": {"type": "keyword"}, "text": {"type": "text"},
    "every10": {"type": "integer"}, "every100": {"type": "integer"}, "every1000": {"type": "integer"},
    "vector": {"type": "dense_vector", "dims": `+strconv.Itoa(corpusWidth)+`, "index": true, "similarity": "cosine",
               "index_options": {"type": "`+vectors+`"}}}}}`), nil)
}

// ingest writes passages up to n by the bulk API alone, as many at once and as
// many calls in flight as our service is given, and returns how long that took.
func (n *node) ingest(ctx context.Context, c *corpus, name, vectors string, upTo int) (time.Duration, error) {
	if err := n.create(ctx, name, vectors); err != nil {
		return 0, err
	}
	var bodies [][]byte
	for at := 0; at < upTo; at += ingestBatch {
		var body bytes.Buffer
		enc := json.NewEncoder(&body)
		for i := at; i < min(at+ingestBatch, upTo); i++ {
			for _, line := range []any{
				map[string]any{"index": map[string]any{"_id": passageID(i)}},
				map[string]any{
					"id": passageID(i), "text": c.text(i), "vector": c.row(i), "every10": i % 10, "every100": i % 100, "every1000": i % 1000,
				},
			} {
				if err := enc.Encode(line); err != nil {
					return 0, err
				}
			}
		}
		bodies = append(bodies, body.Bytes())
	}
	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(ingestWriters)
	for _, body := range bodies {
		g.Go(func() error {
			var answer struct {
				Errors bool `json:"errors"`
			}
			if err := n.call(gctx, http.MethodPost, "/"+name+"/_bulk", body, &answer); err != nil {
				return err
			}
			if answer.Errors {
				return errors.New("passages were refused")
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	err := n.call(ctx, http.MethodPost, "/"+name+"/_refresh", nil, nil)
	return time.Since(began), err
}

// ask makes one hybrid search by _msearch, k hits of each leg, the vector's of
// that many candidates, and returns what the vector leg found.
func (n *node) ask(ctx context.Context, q question, k, candidates int, field string) ([]string, time.Duration, error) {
	filter := []any{}
	if field != "" {
		filter = append(filter, map[string]any{"term": map[string]any{field: 0}})
	}
	lines := []any{
		map[string]any{"index": rawIndex},
		map[string]any{"size": k, "_source": []string{"id", "text"}, "query": map[string]any{"bool": map[string]any{
			"must": map[string]any{"match": map[string]any{"text": q.text}}, "filter": filter,
		}}},
		map[string]any{"index": rawIndex},
		map[string]any{"size": k, "_source": []string{"id", "text"}, "knn": map[string]any{
			"field": "vector", "query_vector": q.vector, "k": k, "num_candidates": candidates, "filter": filter,
		}},
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	for _, line := range lines {
		if err := enc.Encode(line); err != nil {
			return nil, 0, err
		}
	}
	var answer struct {
		Responses []struct {
			Error json.RawMessage `json:"error"`
			Hits  struct {
				Hits []struct {
					Source struct {
						ID string `json:"id"`
					} `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
		} `json:"responses"`
	}
	began := time.Now()
	err := n.call(ctx, http.MethodPost, "/_msearch", body.Bytes(), &answer)
	took := time.Since(began)
	switch {
	case err != nil:
		return nil, 0, err
	case len(answer.Responses) != 2 || len(answer.Responses[1].Error) > 0:
		return nil, 0, fmt.Errorf("msearch: %s", strings.TrimSpace(string(answer.Responses[len(answer.Responses)-1].Error)))
	}
	var ids []string
	for _, h := range answer.Responses[1].Hits.Hits {
		ids = append(ids, h.Source.ID)
	}
	return ids, took, nil
}
