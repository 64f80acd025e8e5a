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
	leastTail = 200 // bytes, beside lines that look like a reason
)

// output cuts a child's output into lines, logs them, and keeps the last ones.
type output struct {
	log   *slog.Logger
	begun chan struct{} // closed once the child's id is known

	mu      sync.Mutex
	attrs   []any
	partial []byte
	last    []string
	telling *telling
}

func newOutput(log *slog.Logger) *output {
	return &output{log: log, begun: make(chan struct{}), telling: newTelling()}
}

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
	whole := strings.ToValidUTF8(string(o.partial), "?")
	line := strings.TrimSpace(whole)
	o.partial = o.partial[:0]
	if line == "" {
		return
	}
	if len(o.last) == keptLines {
		o.last = append(o.last[:0], o.last[1:]...)
	}
	o.last = append(o.last, line)
	o.telling.note(whole)
	o.log.Debug("engine output", append([]any{slog.String(KeyLine, line)}, o.attrs...)...)
}

// tail returns the end of the output on one line, with the lines before it that
// look like a reason of the child's end in front.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := strings.Join(o.last, " | ")
	end := lastOf(all, maxTail)
	var reasons []string
	for _, r := range o.telling.reasons() {
		if !strings.Contains(end, r) {
			reasons = append(reasons, r)
		}
	}
	if len(reasons) == 0 {
		return end
	}
	reason := strings.Join(reasons, " | ")
	return reason + " … " + strings.TrimPrefix(lastOf(all, max(maxTail-len(reason), leastTail)), "…")
}

// lastOf returns at most the last n bytes of s, and whether something is missing.
func lastOf(s string, n int) string {
	if over := len(s) - n; over > 0 {
		return "…" + strings.ToValidUTF8(s[over:], "")
	}
	return s
}
