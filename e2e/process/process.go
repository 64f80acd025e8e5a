// Package process starts the end-to-end tests' processes, ours and others', waits
// until they serve, kills them as a crash would, and stops them. Start reading
// at Process.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end after SIGTERM.
const stopGrace = 25 * time.Second

// Spec is how one process of the deployment is started.
type Spec struct {
	// Name is unique in the deployment, for example `edge-1`.
	Name string
	Path string
	Args []string
	// Env is added to the mesh's own environment.
	Env []string
	Dir string
	// User runs the process as another user when the mesh runs as root, for
	// programs that refuse to be root.
	User *syscall.Credential
	// StopSignal asks the process to end; SIGTERM when zero.
	StopSignal syscall.Signal
	// Ready returns nil once the process serves.
	Ready func(ctx context.Context) error
}

// Process is one process of the deployment. Its methods may be called from
// several goroutines.
type Process struct {
	spec    Spec
	logPath string
	pidPath string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// New returns a process that writes to log/NAME.log and keeps its id in
// run/NAME.pid, both under stateDir, where the two directories must exist.
func New(spec Spec, stateDir string) *Process {
	return &Process{
		spec:    spec,
		logPath: filepath.Join(stateDir, "log", spec.Name+".log"),
		pidPath: filepath.Join(stateDir, "run", spec.Name+".pid"),
	}
}

// Name is the process's name.
func (p *Process) Name() string { return p.spec.Name }

// LogPath is the file that gets what the process writes.
func (p *Process) LogPath() string { return p.logPath }

// Start starts the process and waits until it serves or ctx ends.
func (p *Process) Start(ctx context.Context) error {
	if err := p.launch(); err != nil { //nolint:contextcheck // the process outlives the call that starts it
		return fmt.Errorf("start %s: %w", p.spec.Name, err)
	}
	if err := p.waitReady(ctx); err != nil {
		return fmt.Errorf("%s does not become ready (its log is %s): %w", p.spec.Name, p.logPath, err)
	}
	return nil
}

func (p *Process) launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && !closed(p.done) {
		return errors.New("it runs already")
	}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.Background(), p.spec.Path, p.spec.Args...)
	cmd.Env = append(os.Environ(), p.spec.Env...)
	cmd.Dir = p.spec.Dir
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: an interrupt at the terminal goes to the mesh alone,
	// which stops the processes in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.spec.User}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(p.pidPath, []byte(fmt.Sprintf("%d\n%s\n", cmd.Process.Pid, p.spec.Path)), 0o644); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go p.reap(cmd, p.done)
	return nil
}

func (p *Process) reap(cmd *exec.Cmd, done chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	_ = os.Remove(p.pidPath)
	close(done)
}

func (p *Process) waitReady(ctx context.Context) error {
	if p.spec.Ready == nil {
		return nil
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		last = p.spec.Ready(attempt)
		cancel()
		if last == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("it ended: %w", p.exit())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// WaitReady waits until a process that was started before serves.
func (p *Process) WaitReady(ctx context.Context) error { return p.waitReady(ctx) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Pid is the process's id, or 0 before the first start.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *Process) exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// Kill ends the process at once, as a crash would, and waits for its end.
func (p *Process) Kill() error {
	return p.signalAndWait(syscall.SIGKILL, stopGrace)
}

// Stop asks the process to end and kills it when it does not.
func (p *Process) Stop() error {
	sig := p.spec.StopSignal
	if sig == 0 {
		sig = syscall.SIGTERM
	}
	if err := p.signalAndWait(sig, stopGrace); err != nil {
		return errors.Join(fmt.Errorf("%s: %w; killed", p.spec.Name, err), p.Kill())
	}
	return nil
}

func (p *Process) signalAndWait(sig syscall.Signal, wait time.Duration) error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil || closed(done) {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.spec.Name, err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("still there %s after %v", wait, sig)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return c == nil
	}
}
