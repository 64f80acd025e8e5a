//go:build real

package outcomes_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/outcomes"
)

// envArm makes this test's program a process that counts for one arm.
const envArm = "POTERNE_TEST_OUTCOMES_ARM"

func TestMain(m *testing.M) {
	if arm := os.Getenv(envArm); arm != "" {
		if err := countUntilKilled(arm, os.Args[1], os.Args[2]); err != nil {
			panic(err) // the parent sees it
		}
		return
	}
	m.Run() // its end is the program's
}

func dial(addr string) (*grpc.ClientConn, registryv1.RegistryServiceClient, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return conn, registryv1.NewRegistryServiceClient(conn), nil
}

func sender(spool *outcomes.Spool, registry registryv1.RegistryServiceClient) *outcomes.Sender {
	return &outcomes.Sender{
		Spool: spool, Registry: registry, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler),
		Backoff: backoff.Policy{Base: 10 * time.Millisecond, Max: 50 * time.Millisecond}, Refused: func(int64) {},
	}
}

// countUntilKilled puts batches into the spool and sends them. Before each it says
// how many requests there will be, and afterwards how many there surely are.
func countUntilKilled(arm, dir, addr string) error {
	spool, err := outcomes.OpenSpool(dir, 64<<20, func() string { return "replica" })
	if err != nil {
		return err
	}
	_, registry, err := dial(addr)
	if err != nil {
		return err
	}
	go func() { _ = sender(spool, registry).Run(context.Background()) }()
	for total := int64(0); ; {
		n := 1 + rand.Int64N(5)
		total += n
		fmt.Fprintln(os.Stdout, "will", total)
		now := timestamppb.Now()
		err := spool.Append(&registryv1.OutcomeBatch{StartTime: now, EndTime: now, Outcomes: []*registryv1.Outcome{
			{Model: "m", Arm: arm, Version: 1, Sums: &registryv1.OutcomeSums{Requests: n}},
		}})
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, "has", total)
	}
}

// counter runs such a process and kills it after some time. It returns the last
// words of it.
func counter(t *testing.T, arm, dir, addr string, life time.Duration) (will, has int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], dir, addr)
	cmd.Env = append(os.Environ(), envArm+"="+arm)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	killed := time.AfterFunc(life, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
	defer killed.Stop()
	for {
		line, err := lines.ReadString('\n')
		word, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, bad := strconv.ParseInt(number, 10, 64); bad == nil && err == nil {
			if word == "will" {
				will = n
			} else {
				has = n
			}
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	return will, has
}

// registryProcess runs the registry's own program.
func registryProcess(t *testing.T, dir, addr string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-registry"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "POTERNE_GRPC_ADDR="+addr, "POTERNE_TELEMETRY_OPS_ADDR=", "POTERNE_STORE_DSN=sqlite:registry.db")
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Both sides are killed again and again with SIGKILL. What the spool had taken is
// counted, and nothing is counted twice.
func TestRealKilledOnBothSides(t *testing.T) {
	dir, data, addr := t.TempDir(), t.TempDir(), freeAddr(t)
	registry := registryProcess(t, data, addr)
	t.Cleanup(func() { kill(registry) })
	conn, client, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	wait := grpc.WaitForReady(true)
	if _, err := client.CreateModel(t.Context(), &registryv1.CreateModelRequest{Name: "m"}, wait); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	const rounds = 12
	type words struct{ will, has int64 }
	said := make(map[string]words)
	for i := range rounds {
		arm := fmt.Sprintf("r%02d", i)
		life := 300*time.Millisecond + time.Duration(r.Int64N(int64(400*time.Millisecond)))
		died := make(chan struct{})
		if i%2 == 1 { // the registry dies too, in the middle
			time.AfterFunc(life/2, func() {
				kill(registry)
				registry = registryProcess(t, data, addr)
				close(died)
			})
		} else {
			close(died)
		}
		will, has := counter(t, arm, dir, addr, life)
		<-died
		said[arm] = words{will, has}
	}
	spool, err := outcomes.OpenSpool(dir, 64<<20, func() string { return "other" })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spool.Close() }()
	left, _, _ := spool.Held()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sender(spool, client).Run(ctx) }()
	for n := left; n > 0; n, _, _ = spool.Held() {
		<-time.After(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	resp, err := client.GetResults(t.Context(), &registryv1.GetResultsRequest{Model: "m"}, wait)
	if err != nil {
		t.Fatal(err)
	}
	var all, sure int64
	counted := make(map[string]int64)
	for _, a := range resp.GetResults().GetArms() {
		counted[a.GetArm()] = a.GetSums().GetRequests()
	}
	for arm, w := range said {
		n := counted[arm]
		if n < w.has || n > w.will {
			t.Errorf("arm %s: %d requests are counted; the spool had %d, and %d were on their way", arm, n, w.has, w.will)
		}
		all, sure = all+n, sure+w.has
	}
	if sure == 0 {
		t.Error("nothing was counted at all")
	}
	t.Logf("%d rounds: %d requests were in the spool, %d are counted; %d batches waited at the end", rounds, sure, all, left)
}
