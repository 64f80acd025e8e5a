package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/services/worker/internal/durable"
)

// asAgent makes this test's program an agent that starts an engine, says its
// process ids, and waits to be killed.
const asAgent = "TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asAgent); dir != "" {
		os.Exit(agentMain(dir)) //nolint:forbidigo // this is main
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

func agentMain(dir string) int {
	ledger, err := OpenLedger(dir)
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	// The engine has a child of its own, as vLLM does, which does not end with
	// it by itself.
	p, err := Start(context.Background(), Command{Path: "/bin/sh", Args: []string{"-c", "sleep 600 & echo $!; wait"}},
		ledger, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	for p.out.tail() == "" {
		runtime.Gosched()
	}
	fmt.Fprintln(os.Stdout, p.PID(), p.out.tail())
	select {}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openLedger(t *testing.T, dir string) *Ledger {
	t.Helper()
	l, err := OpenLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// alive reports whether the process runs; one that is only waiting for its
// parent to ask about it does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && statFields(stat)[0] != "Z"
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

// The agent is killed as by the system when memory runs out: the engine must be
// gone at once, and its children at the latest when the agent is started again.
func TestNoOrphansAfterKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asAgent+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var engine, child int
	if _, err := fmt.Sscan(line, &engine, &child); err != nil {
		t.Fatalf("the agent said %q", line)
	}
	t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })
	if !alive(engine) || !alive(child) {
		t.Fatal("they do not run")
	}
	if _, err := OpenLedger(dir); !errors.Is(err, durable.ErrInUse) {
		t.Fatalf("a second agent in the same directory: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the engine ends with its agent", func() bool { return !alive(engine) })
	n, err := openLedger(t, dir).Reap(t.Context(), quiet())
	if err != nil || n != 1 {
		t.Fatalf("reaped %d, %v", n, err)
	}
	eventually(t, "the engine's child ends when the agent is started again", func() bool { return !alive(child) })
	if notes, _ := filepath.Glob(filepath.Join(dir, "*.json")); len(notes) != 0 {
		t.Errorf("notes are left: %v", notes)
	}
}

// sleeper starts a process that no ledger knows of.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestReapKnowsWhatIsItsOwn(t *testing.T) {
	dir := t.TempDir()
	mine, other := sleeper(t), sleeper(t)
	l := openLedger(t, dir)
	if err := l.add(mine.Process.Pid, "sleep", "M=1"); err != nil {
		t.Fatal(err)
	}
	// The id of an engine that is gone was given to another process.
	note := fmt.Sprintf(`{"pid":%d,"identity":"earlier","path":"x","mark":"M=2"}`, other.Process.Pid)
	for name, text := range map[string]string{
		strconv.Itoa(other.Process.Pid): note, "999999999": `{"pid":999999999,"identity":"x"}`,
		"1": `{"pid":1,"identity":"x"}`, "77": note, "broken": "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, err := l.Reap(t.Context(), quiet())
	if err != nil || n != 1 {
		t.Fatalf("reaped %d, %v", n, err)
	}
	eventually(t, "the leftover ends", func() bool { return !alive(mine.Process.Pid) })
	if !alive(other.Process.Pid) {
		t.Error("another process was killed")
	}
	if n, err := l.Reap(t.Context(), quiet()); n != 0 || err != nil {
		t.Errorf("the second time: %d, %v", n, err)
	}
}

func start(t *testing.T, script string, log *slog.Logger) *Process {
	t.Helper()
	p, err := Start(t.Context(), Command{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"X=1"}}, openLedger(t, t.TempDir()), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(context.WithoutCancel(t.Context()), time.Second) })
	return p
}

func TestStop(t *testing.T) {
	p := start(t, "exec sleep 600", quiet())
	p.Stop(t.Context(), time.Minute)
	if err := p.Err(); !strings.Contains(err.Error(), "terminated") {
		t.Errorf("asked to end: %v", err)
	}
	p.Stop(t.Context(), time.Minute) // again: nothing happens

	stubborn := start(t, "trap '' TERM; echo ready; while :; do sleep 1; done", quiet())
	eventually(t, "it is ready", func() bool { return stubborn.out.tail() == "ready" })
	stubborn.Stop(t.Context(), time.Millisecond)
	if err := stubborn.Err(); !strings.Contains(err.Error(), "SIGKILL") {
		t.Errorf("made to end: %v", err)
	}
	impatient := start(t, "trap '' TERM; echo ready; while :; do sleep 1; done", quiet())
	eventually(t, "it is ready", func() bool { return impatient.out.tail() == "ready" })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	impatient.Stop(ctx, time.Hour)
	if alive(impatient.PID()) {
		t.Error("it runs although the context has ended")
	}
}

func TestStandardInputIsHeldOpen(t *testing.T) {
	p := start(t, "read x; echo ended", quiet())
	p.Stop(t.Context(), time.Minute)
	if strings.Contains(p.out.tail(), "ended") {
		t.Error("standard input ended while the agent ran")
	}
}

func TestReasons(t *testing.T) {
	for script, want := range map[string]string{
		"echo bad model >&2; exit 3": "the engine ended with exit code 3: bad model",
		"exit 0":                     "the engine ended by itself",
		"kill -ILL $$":               "was killed by SIGILL: its build does not fit this CPU",
		"kill -SEGV $$":              "was killed by signal 11 (segmentation fault)",
		"echo $X$POTERNE_SECRET":     "the engine ended by itself: 1",
	} {
		t.Setenv("POTERNE_SECRET", "hunter2")
		if err := start(t, script, quiet()).Err(); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", script, err)
		}
	}
	_, err := Start(t.Context(), Command{Path: "/no/such/engine"}, openLedger(t, t.TempDir()), quiet())
	if err == nil || !strings.Contains(err.Error(), "cannot be started") {
		t.Errorf("no program: %v", err)
	}
}

// syncBuffer is written by the log and read by the test.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestOutput(t *testing.T) {
	var logs syncBuffer
	p := start(t, `for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; done; head -c 100000 /dev/zero | tr '\0' x; echo; printf last`,
		slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	tail := p.Err().Error()
	if !strings.HasSuffix(tail, "x | last") || len(tail) > maxTail+100 {
		t.Errorf("kept %q", tail)
	}
	text := logs.String()
	if !strings.Contains(text, `line="line 10"`) || !strings.Contains(text, "line=last") || len(text) > 20_000 {
		t.Errorf("logged %d bytes: %.300s", len(text), text)
	}
	if !strings.Contains(text, KeyPID+"="+strconv.Itoa(p.PID())) {
		t.Error("the process id is not logged")
	}
}

// A child gives way to others, its output goes where the caller wants it, and its
// messages name it.
func TestNiceOutputAndExitCode(t *testing.T) {
	var out bytes.Buffer
	p, err := Start(t.Context(), Command{
		// Once it gives way, so do those that it starts.
		Path: "/bin/sh", Args: []string{"-c", "until [ $(nice) = 7 ]; do :; done; nice; exit 5"}, Output: &out, Nice: 7, What: "quantiser",
	}, openLedger(t, t.TempDir()), quiet())
	if err != nil {
		t.Fatal(err)
	}
	err = p.Err()
	if p.ExitCode() != 5 || strings.TrimSpace(out.String()) != "7" || !strings.HasPrefix(err.Error(), "the quantiser ended with exit code 5: 7") {
		t.Errorf("exit code %d, output %q, %v", p.ExitCode(), out.String(), err)
	}
}

// A child that is batch work to the scheduler is so from its first instruction, with all
// that it starts; neither others nor this process become it, whichever of its threads
// started the child.
func TestBatch(t *testing.T) {
	ledger := openLedger(t, t.TempDir())
	for batch, want := range map[bool]string{true: "3 3", false: "0 0"} { // SCHED_BATCH, SCHED_OTHER
		for range 20 {
			var out bytes.Buffer
			p, err := Start(t.Context(), Command{
				Path: "/bin/sh", Args: []string{"-c", `policy() { cut -d' ' -f41 /proc/$1/stat; }; echo $(policy $$) $(policy self)`},
				Output: &out, Batch: batch,
			}, ledger, quiet())
			if err != nil {
				t.Fatal(err)
			}
			<-p.Exited()
			if got := strings.TrimSpace(out.String()); got != want {
				t.Fatalf("batch %v: policies %q, want %q", batch, got, want)
			}
			if _, err := Start(t.Context(), Command{Path: "/nowhere/engine", Batch: batch}, ledger, quiet()); err == nil {
				t.Fatal("a program that is not there is started")
			}
		}
	}
	stats, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatal(stats, err)
	}
	for _, file := range stats {
		const policyField = 38 // after the name
		if stat, err := os.ReadFile(file); err == nil && statFields(stat)[policyField] != "0" {
			t.Errorf("a thread of this process has the policy %s", statFields(stat)[policyField])
		}
	}
}
