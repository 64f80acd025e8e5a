package process

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

const (
	maxLine   = 2 << 10 // bytes; the rest of a longer line is dropped
	keptLines = 8
	maxTail   = 600 // bytes
)

// output cuts a child's output into lines, logs them, and keeps the last ones.
type output struct {
	log   *slog.Logger
	begun chan struct{} // closed once the child's id is known

	mu      sync.Mutex
	attrs   []any
	partial []byte
	last    []string
}

func newOutput(log *slog.Logger) *output { return &output{log: log, begun: make(chan struct{})} }

// begin notes the child's id for the log, and lets its output in.
func (o *output) begin(pid int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attrs = []any{slog.Int(KeyPID, pid)}
	close(o.begun)
}

// Write never fails: a child must not block or die for its log.
func (o *output) Write(b []byte) (int, error) {
	<-o.begun
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		line, rest, found := bytes.Cut(b, []byte{'\n'})
		if room := maxLine - len(o.partial); room > 0 {
			o.partial = append(o.partial, line[:min(len(line), room)]...)
		}
		if found {
			o.flush()
		}
		b = rest
	}
	return n, nil
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flush()
}

func (o *output) flush() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(o.partial), "?"))
	o.partial = o.partial[:0]
	if line == "" {
		return
	}
	if len(o.last) == keptLines {
		o.last = append(o.last[:0], o.last[1:]...)
	}
	o.last = append(o.last, line)
	o.log.Debug("engine output", append([]any{slog.String(KeyLine, line)}, o.attrs...)...)
}

// tail returns the end of the output on one line.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := strings.Join(o.last, " | ")
	if over := len(all) - maxTail; over > 0 {
		all = "…" + strings.ToValidUTF8(all[over:], "")
	}
	return all
}
