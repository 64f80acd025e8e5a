package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/telemetry"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// searchNode is the search service's own binary, run as a process, with a
// corpus in the place of an embedding model.
type searchNode struct {
	corpus  *corpus
	vectors *knownVectors
	process *process.Process
	client  searchv1.SearchServiceClient
	conn    *grpc.ClientConn
	dir     string
}

// collection is the name of the one that is measured.
const collection = "bench"

// openSearch starts the service; index is that section of its configuration, and
// env what is added to its environment.
func openSearch(ctx context.Context, c *corpus, index string, env ...string) (_ *searchNode, err error) {
	path, err := binary("poterne-search")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "poterne-bench-")
	if err != nil {
		return nil, err
	}
	n := &searchNode{corpus: c, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	ports, err := process.FreePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports[i]) }
	if n.vectors, err = serveVectors(ctx, at(2), c); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`
grpc: {addr: %q}
telemetry: {ops_addr: %q, log_level: warn}
store: {dsn: "sqlite://%s/truth.db"}
index: %s
limits: {collection_chunks: 2000000}
embedding: {model: sim, batch: 512, batch_bytes: 1MiB, concurrency: 4}
discovery: {kind: static, static: {poterne-inference: [%q]}}
`, at(0), at(1), dir, strings.ReplaceAll(index, "DIR", filepath.Join(dir, "index")), at(2))
	config := filepath.Join(dir, "search.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	for _, d := range []string{"log", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	n.process = process.New(process.Spec{
		Name: "poterne-search", Path: path, Args: []string{"--config", config},
		// The components' environment has a file under this name.
		Env:   append([]string{"POTERNE_EMBEDDING_MODEL=sim"}, env...),
		Ready: process.HTTPReady("http://"+at(1)+"/readyz", nil),
	}, dir)
	if err := n.process.Start(ctx); err != nil {
		return nil, err
	}
	cfg := grpcclient.DefaultConfig()
	// The last write waits until a million passages can be found.
	cfg.Timeout, cfg.Breaker.Enabled = time.Hour, false
	n.conn, err = grpcclient.Dial(at(0), cfg, telemetry.Discard(), //nolint:contextcheck // it does nothing
		grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), nil))
	if err != nil {
		return nil, err
	}
	n.client = searchv1.NewSearchServiceClient(n.conn)
	return n, nil
}

func (n *searchNode) close() error {
	var errs []error
	if n.conn != nil {
		errs = append(errs, n.conn.Close())
	}
	if n.process != nil {
		errs = append(errs, n.process.Stop())
	}
	if n.vectors != nil {
		errs = append(errs, n.vectors.stop())
	}
	return errors.Join(append(errs, os.RemoveAll(n.dir))...)
}

// asReader is a call on behalf of somebody of the tenant.
func asReader(ctx context.Context) context.Context {
	return identity.NewContext(ctx, identity.Caller{Tenant: "acme", Subject: "ada", Principals: []string{"user:ada"}})
}

// ingestBatch is how many documents are sent together, and ingestWriters how
// many calls are in flight.
const (
	ingestBatch   = 500
	ingestWriters = 2
)

// ingest writes so many passages into a new collection, and returns when all can
// be found, with how long that took.
func (n *searchNode) ingest(ctx context.Context, to int) (time.Duration, error) {
	ctx = asReader(ctx)
	if _, err := n.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: collection}); err != nil {
		return 0, err
	}
	batches := make([]*searchv1.BatchUpsertDocumentsRequest, 0, to/ingestBatch+1)
	for at := 0; at < to; at += ingestBatch {
		req := &searchv1.BatchUpsertDocumentsRequest{Collection: collection, Refresh: "none"}
		for i := at; i < min(at+ingestBatch, to); i++ {
			d, err := n.corpus.document(i)
			if err != nil {
				return 0, err
			}
			req.Documents = append(req.Documents, d)
		}
		batches = append(batches, req)
	}
	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(ingestWriters)
	for _, req := range batches {
		g.Go(func() error { return n.upsert(gctx, req) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	last := batches[len(batches)-1]
	last.Refresh = "wait" // all else is found with it, since an index follows in order
	err := n.upsert(ctx, last)
	return time.Since(began), err
}

func (n *searchNode) upsert(ctx context.Context, req *searchv1.BatchUpsertDocumentsRequest) error {
	resp, err := n.client.BatchUpsertDocuments(ctx, req)
	switch {
	case err != nil:
		return err
	case resp.GetFailed() > 0 || len(resp.GetWarnings()) > 0:
		return fmt.Errorf("%d documents failed, warnings %v", resp.GetFailed(), resp.GetWarnings())
	default:
		return nil
	}
}

// ask answers a question and returns the documents that were found and how long
// that took.
func (n *searchNode) ask(ctx context.Context, text, mode, filter string, k int) ([]string, time.Duration, error) {
	began := time.Now()
	resp, err := n.client.Search(asReader(ctx), &searchv1.SearchRequest{
		Collection: collection, Query: text, Mode: mode, Filter: filter, TopK: int32(k),
	})
	took := time.Since(began)
	if err != nil {
		return nil, 0, err
	}
	if resp.GetMode() != mode {
		return nil, 0, fmt.Errorf("answered by %s: %v", resp.GetMode(), resp.GetWarnings())
	}
	ids := make([]string, len(resp.GetHits()))
	for i, h := range resp.GetHits() {
		ids[i] = h.GetDocumentId()
	}
	return ids, took, nil
}
