//go:build real

package search_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/testkit"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// binary is the service's own binary, run as a process.
type binary struct {
	t      *testing.T
	path   string
	config string
	ops    string
	client searchv1.SearchServiceClient
	// inference is what it has embed.
	inference *fakeInference
}

func buildBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "poterne-search")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/poterne-search")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// serveFakeInference serves the fake on a port of its own.
func serveFakeInference(t *testing.T, fake *fakeInference) string {
	t.Helper()
	addr := testkit.Loopback(testkit.FreePorts(t, 1)[0])
	server, err := grpcserver.New(grpcserver.DefaultConfig(addr), telemetry.Discard(),
		grpcserver.Chain{grpcserver.Errors(), identity.Server(identity.Plain(), func(string) bool { return false })},
		func(r grpc.ServiceRegistrar) { inferencev1.RegisterInferenceServiceServer(r, fake) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- lifecycle.Run(ctx, lifecycle.Options{}, server.Component()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return addr
}

// newBinary configures the binary; index is that section of the file, empty for
// the embedded one.
func newBinary(t *testing.T, index string) *binary {
	t.Helper()
	return newBinaryOn(t, buildBinary(t), "sqlite://"+filepath.Join(t.TempDir(), "truth.db"), index)
}

// newBinaryOn is newBinary for a program that is built already, and a store that
// others may share.
func newBinaryOn(t *testing.T, path, dsn, index string) *binary {
	t.Helper()
	dir := t.TempDir()
	if index == "" {
		index = fmt.Sprintf("{dir: %q}", filepath.Join(dir, "index"))
	}
	ports := testkit.FreePorts(t, 2)
	b := &binary{
		t: t, path: path, config: filepath.Join(dir, "search.yaml"), ops: testkit.Loopback(ports[1]),
		inference: &fakeInference{digest: "sha256:" + strings.Repeat("1", 64)},
	}
	text := fmt.Sprintf(`
grpc: {addr: %q}
telemetry: {ops_addr: %q}
store: {dsn: %q}
index: %s
discovery: {kind: static, static: {poterne-inference: [%q]}}
`, testkit.Loopback(ports[0]), b.ops, dsn, index, serveFakeInference(t, b.inference))
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := grpcclient.Dial(testkit.Loopback(ports[0]), clientConfig(), telemetry.Discard(),
		grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain())),
		grpcclient.WithDialOptions(grpc.WithDefaultCallOptions(grpc.WaitForReady(true))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	b.client = searchv1.NewSearchServiceClient(conn)
	return b
}

func (b *binary) start() *testkit.Process {
	b.t.Helper()
	return testkit.Start(b.t, testkit.Command{
		Name: "poterne-search", Path: b.path, Args: []string{"--config", b.config},
		// The components' environment has a file under this name.
		Env:   []string{"POTERNE_EMBEDDING_MODEL=fake"},
		Ready: testkit.ReadyHTTP("http://" + b.ops + "/readyz"),
	})
}

// ledger is what writers were told.
type ledger struct {
	mu sync.Mutex
	// acknowledged and sent are the last round of each document.
	acknowledged, sent map[string]int
	acks               int
	enough             chan struct{}
}

func (l *ledger) note(id string, round int, acknowledged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[id] = round
	if !acknowledged {
		return
	}
	l.acknowledged[id] = round
	if l.acks++; l.acks%120 == 0 {
		select {
		case l.enough <- struct{}{}:
		default:
		}
	}
}

func textOf(id string, round int) string {
	return fmt.Sprintf("common words of %s round%s%d", id, id, round)
}

// write writes and rewrites documents until ctx ends.
func (b *binary) write(ctx context.Context, writer int, l *ledger, from int) int {
	round := from
	for ; ctx.Err() == nil; round++ {
		var docs []*searchv1.Document
		for i := range 3 {
			id := fmt.Sprintf("w%dd%d", writer, (round*3+i)%20)
			l.note(id, round, false)
			docs = append(docs, doc(id, textOf(id, round)))
		}
		resp, err := b.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: docs})
		if err != nil {
			return round + 1
		}
		for _, r := range resp.GetResults() {
			if r.GetError() == nil {
				l.note(r.GetId(), round, true)
			}
		}
	}
	return round
}

func TestRealKill9LosesNothingAcknowledged(t *testing.T) {
	killUnderWrites(t, newBinary(t, ""))
}

// What a change that was cut short has put in the cluster is not found later.
func TestRealKill9LosesNothingInElasticsearch(t *testing.T) {
	killUnderWrites(t, newBinary(t, fmt.Sprintf(
		"{kind: elasticsearch, elasticsearch: {addresses: [%q]}}", testkit.Elasticsearch(t).URL)))
}

// killUnderWrites kills the process under writes, starts it again, and compares
// every document and every search with what was promised.
func killUnderWrites(t *testing.T, b *binary) {
	t.Helper()
	as := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "ada"})
	l := &ledger{acknowledged: map[string]int{}, sent: map[string]int{}, enough: make(chan struct{}, 1)}
	process := b.start()
	if _, err := b.client.CreateCollection(as, &searchv1.CreateCollectionRequest{Id: "c"}); err != nil {
		t.Fatal(err)
	}
	next := make([]int, 3)
	for range 4 {
		ctx, stop := context.WithTimeout(as, time.Minute)
		var wg sync.WaitGroup
		for w := range next {
			wg.Go(func() { next[w] = b.write(ctx, w, l, next[w]) })
		}
		<-l.enough
		process.Kill()
		stop()
		wg.Wait()
		process = b.start()
		b.compare(as, l)
	}
	process.Stop()
	if code := process.ExitCode(); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, process.Output())
	}
}

// compare reads every document, and looks for it by its own word in each leg.
func (b *binary) compare(ctx context.Context, l *ledger) {
	b.t.Helper()
	for id, acknowledged := range l.acknowledged {
		got, err := b.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: id})
		if err != nil {
			b.t.Errorf("%s, acknowledged in round %d: %v", id, acknowledged, err)
			continue
		}
		text := got.GetDocument().GetText()
		if text != textOf(id, acknowledged) && text != textOf(id, l.sent[id]) {
			b.t.Errorf("%s has %q; round %d was acknowledged and %d sent", id, text, acknowledged, l.sent[id])
		}
		words := strings.Fields(text)
		for _, mode := range []string{"lexical", "vector"} {
			resp, err := b.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: words[len(words)-1], Mode: mode, TopK: 100})
			if err != nil {
				b.t.Fatal(err)
			}
			checkHits(b.t, id, text, resp)
		}
	}
	c, err := b.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "common", Mode: "lexical", TopK: 1000})
	if err != nil || len(resp.GetHits()) != int(c.GetCollection().GetDocumentCount()) {
		b.t.Errorf("the index has %d documents, the truth %v, %v", len(resp.GetHits()), c, err)
	}
}

func checkHits(t *testing.T, id, text string, resp *searchv1.SearchResponse) {
	t.Helper()
	for _, hit := range resp.GetHits() {
		if hit.GetDocumentId() != id {
			continue
		}
		if hit.GetText() != text {
			t.Errorf("%s: the index has %q, the truth %q", id, hit.GetText(), text)
		}
		return
	}
	t.Errorf("%s is not found by %s", id, resp.GetMode())
}
