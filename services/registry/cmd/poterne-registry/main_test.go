package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// envMain makes this test's binary be the program.
const envMain = "POTERNE_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is the program, running on a database in a file.
type process struct {
	*testkit.Process
	client    registryv1.RegistryServiceClient
	artifacts registryv1.ArtifactServiceClient
}

// startProcess starts the program on the database db, or on what env says.
func startProcess(t *testing.T, db string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ports := testkit.FreePorts(t, 2)
	addr, ops := testkit.Loopback(ports[0]), testkit.Loopback(ports[1])
	file := filepath.Join(t.TempDir(), "registry.yaml")
	text := fmt.Sprintf("grpc:\n  addr: %s\ntelemetry:\n  ops_addr: %s\n  log_level: warn\n", addr, ops)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := testkit.Start(t, testkit.Command{
		Name: "poterne-registry", Path: self, Args: []string{"--config", file},
		Env: append([]string{
			envMain + "=1", "POTERNE_STORE_DSN=sqlite://" + db, "POTERNE_ARTIFACTS_DIR=" + filepath.Join(filepath.Dir(db), "artifacts"),
		}, env...),
		Ready: testkit.ReadyHTTP("http://" + ops + "/readyz"),
	})
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() { // ready may be told before the port is open
		if !conn.WaitForStateChange(t.Context(), state) {
			t.Fatal("the program does not answer")
		}
	}
	return &process{Process: p, client: registryv1.NewRegistryServiceClient(conn), artifacts: registryv1.NewArtifactServiceClient(conn)}
}

// acknowledged is what the program has said that it did.
type acknowledged struct {
	mu       sync.Mutex
	versions []*registryv1.Version
	aliases  map[string]*registryv1.Alias // by model
	enough   chan struct{}
	want     int
}

func (a *acknowledged) add(v *registryv1.Version, alias *registryv1.Alias) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v != nil {
		a.versions = append(a.versions, v)
		if len(a.versions) == a.want {
			close(a.enough)
		}
	}
	if alias != nil {
		a.aliases[alias.GetModel()] = alias
	}
}

// write creates versions of one model, and moves an alias to each, until the
// program is gone. The alias is written by one writer only, so its last
// acknowledged state, or the one after it, is what must be found.
func write(ctx context.Context, c registryv1.RegistryServiceClient, model string, round int, acks *acknowledged) error {
	for i := 0; ; i++ {
		created, err := c.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: model, Spec: &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_CHAT, Engine: "sim", Parameters: map[string]string{"seed": fmt.Sprint(round, "-", i)},
		}})
		if err != nil {
			return err
		}
		acks.add(created.GetVersion(), nil)
		set, err := c.SetAlias(ctx, &registryv1.SetAliasRequest{
			Model: model, Alias: "latest", Version: created.GetVersion().GetNumber(), Etag: "*",
		})
		if err != nil {
			return err
		}
		acks.add(nil, set.GetAlias())
	}
}

// Killed in the middle of writes, three times over, the registry has everything
// that it acknowledged, numbers without gaps, and watchers resume.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	db := filepath.Join(t.TempDir(), "registry.db")
	models := []string{"a", "b", "c"}
	p := startProcess(t, db)
	for _, m := range models {
		if _, err := p.client.CreateModel(t.Context(), &registryv1.CreateModelRequest{Name: m}); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		acks := &acknowledged{aliases: make(map[string]*registryv1.Alias), enough: make(chan struct{}), want: 40}
		seen := make(chan int64, 1)
		go func() { seen <- follow(t.Context(), p.client) }()
		var writers sync.WaitGroup
		for _, m := range models {
			writers.Go(func() {
				if err := write(t.Context(), p.client, m, round, acks); status.Code(err) != codes.Unavailable {
					t.Errorf("writing to %s ended with %v", m, err)
				}
			})
		}
		<-acks.enough
		p.Kill()
		writers.Wait()
		resume := <-seen

		p = startProcess(t, db)
		verify(t, p.client, acks)
		if err := resumes(t.Context(), p.client, resume); err != nil {
			t.Errorf("round %d: watching on from %d: %v", round, resume, err)
		}
	}
	p.Stop()
	if code := p.ExitCode(); code != 0 {
		t.Errorf("asked to end, the program exits with %d\n%s", code, p.Output())
	}
}

// follow watches until the program is gone and returns the last revision.
func follow(ctx context.Context, c registryv1.RegistryServiceClient) (last int64) {
	s, err := c.Watch(ctx, &registryv1.WatchRequest{})
	for err == nil {
		var m *registryv1.WatchResponse
		if m, err = s.Recv(); err == nil {
			last = m.GetRevision()
		}
	}
	return last
}

func resumes(ctx context.Context, c registryv1.RegistryServiceClient, from int64) error {
	if from == 0 {
		return errors.New("the watcher had seen nothing")
	}
	s, err := c.Watch(ctx, &registryv1.WatchRequest{FromRevision: from})
	if err != nil {
		return err
	}
	m, err := s.Recv()
	if err == nil && m.GetRevision() < from {
		err = fmt.Errorf("got revision %d", m.GetRevision())
	}
	return err
}

func verify(t *testing.T, c registryv1.RegistryServiceClient, acks *acknowledged) {
	t.Helper()
	counts := make(map[string]int32)
	for _, want := range acks.versions {
		got, err := c.GetVersion(t.Context(), &registryv1.GetVersionRequest{Model: want.GetModel(), Version: want.GetDigest()})
		if err != nil {
			t.Fatalf("version %d of %s was acknowledged and is lost: %v", want.GetNumber(), want.GetModel(), err)
		}
		if !proto.Equal(got.GetVersion(), want) {
			t.Errorf("got %v, acknowledged %v", got.GetVersion(), want)
		}
		counts[want.GetModel()] = max(counts[want.GetModel()], want.GetNumber())
	}
	for model, highest := range counts {
		resp, err := c.ListVersions(t.Context(), &registryv1.ListVersionsRequest{Model: model, PageSize: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range resp.GetVersions() {
			if want := int32(len(resp.GetVersions()) - i); v.GetNumber() != want {
				t.Errorf("%s has version %d in the place of %d", model, v.GetNumber(), want)
			}
		}
		// One version more may have been committed and not acknowledged.
		if n := int32(len(resp.GetVersions())); n != highest && n != highest+1 {
			t.Errorf("%s has %d versions, the last acknowledged is %d", model, n, highest)
		}
	}
	for model, want := range acks.aliases {
		got, err := c.GetAlias(t.Context(), &registryv1.GetAliasRequest{Model: model, Alias: "latest"})
		if err != nil {
			t.Fatal(err)
		}
		if n := got.GetAlias().GetVersion(); n != want.GetVersion() && n != want.GetVersion()+1 {
			t.Errorf("the alias of %s names version %d, acknowledged was %d", model, n, want.GetVersion())
		}
	}
}
