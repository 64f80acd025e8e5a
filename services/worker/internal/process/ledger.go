package process

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/poterne/poterne/services/worker/internal/durable"
)

// Ledger notes running children in a directory, one file each, so that the next
// start finds what an agent that was killed left behind. A lock keeps two agents
// from using one directory.
type Ledger struct {
	dir  string
	lock *os.File
}

// entry is what is noted of a child: enough to know it again when its process
// id may have gone to another.
type entry struct {
	PID int `json:"pid"`
	// Identity is when it was started, as the system tells it.
	Identity string `json:"identity"`
	Path     string `json:"path"`
	// Mark is the setting that it and its children have in their environment.
	Mark string `json:"mark"`
}

// OpenLedger locks the directory, which it makes if need be; durable.ErrInUse says
// that another agent has it.
func OpenLedger(dir string) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("engine ledger: %w", err)
	}
	lock, err := durable.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("engine ledger: %w", err)
	}
	return &Ledger{dir: dir, lock: lock}, nil
}

// Close gives the lock back.
func (l *Ledger) Close() error { return l.lock.Close() }

func (l *Ledger) file(pid int) string {
	return filepath.Join(l.dir, strconv.Itoa(pid)+".json")
}

func (l *Ledger) add(pid int, path, mark string) error {
	id, err := identity(pid)
	if err != nil {
		return err
	}
	data, err := json.Marshal(entry{PID: pid, Identity: id, Path: path, Mark: mark})
	if err != nil {
		return err
	}
	return os.WriteFile(l.file(pid), data, 0o600)
}

func (l *Ledger) remove(pid int) { _ = os.Remove(l.file(pid)) }

// Reap ends the children that an earlier agent noted and that still run, and
// returns how many there were. A process that has only the id of such a child
// is left alone.
func (l *Ledger) Reap(ctx context.Context, log *slog.Logger) (int, error) {
	files, err := filepath.Glob(filepath.Join(l.dir, "*.json"))
	if err != nil {
		return 0, fmt.Errorf("engine ledger: %w", err)
	}
	killed := 0
	for _, file := range files {
		e, err := readEntry(file)
		if err != nil {
			log.WarnContext(ctx, "unreadable note of an engine process removed", slog.Any("error", err))
		} else if e.reap() {
			log.WarnContext(ctx, "ended an engine that an earlier worker left behind",
				slog.Int(KeyPID, e.PID), slog.String("path", e.Path))
			killed++
		}
		if err := os.Remove(file); err != nil {
			return killed, fmt.Errorf("engine ledger: %w", err)
		}
	}
	return killed, nil
}

// reap ends what is left of the child, and reports whether there was anything.
func (e entry) reap() bool {
	now, err := identity(e.PID)
	if err == nil && now == e.Identity {
		signalGroup(e.PID, syscall.SIGKILL)
		return true
	}
	// The child itself is gone. Its own children may be there: they are known by
	// their environment, since their group's id alone proves nothing.
	left := marked(e.PID, e.Mark)
	for _, pid := range left {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(left) > 0
}

const maxEntryBytes = 64 << 10

func readEntry(file string) (entry, error) {
	info, err := os.Stat(file)
	if err != nil {
		return entry{}, err
	}
	if info.Size() > maxEntryBytes {
		return entry{}, fmt.Errorf("%s: too large", file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return entry{}, err
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return entry{}, fmt.Errorf("%s: %w", file, err)
	}
	if e.PID <= 1 || strings.TrimSuffix(filepath.Base(file), ".json") != strconv.Itoa(e.PID) {
		return entry{}, fmt.Errorf("%s: the process id is wrong", file)
	}
	return e, nil
}
