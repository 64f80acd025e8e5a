package process

import (
	"regexp"
	"slices"
	"strings"
)

// What a child wrote last is often how it shut down, and not why. Lines that look
// like a reason are therefore kept for longer than others.

// weight is how much a line looks like the reason of an end.
type weight int

const (
	plain    weight = iota
	reported        // a log calls it an error
	raised          // an exception, a panic, a fatal error
)

const (
	keptTelling = 16
	// tellingFor is how many lines later a line is no reason any more: an engine
	// that served for long has reported errors of requests.
	tellingFor  = 256
	maxTelling  = 300 // bytes of one that is shown
	shownReason = 2   // the first one, which others may follow from, and the last
)

// tellingLine is one of the lines that look like a reason.
type tellingLine struct {
	text   string
	weight weight
	at     int // which of all lines
}

// telling keeps the lines that look like a reason.
type telling struct {
	exceptions, reports, chatter *regexp.Regexp

	lines  []tellingLine
	count  int
	within bool // a traceback of Python, whose last line has no indentation
}

func newTelling() *telling {
	return &telling{
		exceptions: regexp.MustCompile(`(^|[\s\])])([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception)(:|$)|^panic: |^fatal error: |\bterminate called |\bwhat\(\): |Segmentation fault|[Oo]ut of memory|GGML_ASSERT|Assertion .* failed`),
		reports:    regexp.MustCompile(`\b(ERROR|CRITICAL|FATAL|Fatal)\b|(?i)\b(error|fatal|failed to|could not|cannot|unable to|no such file)\b`),
		chatter:    regexp.MustCompile(`\b(INFO|DEBUG)\b`),
	}
}

// note takes one line as it came.
func (t *telling) note(line string) {
	t.count++
	text := strings.TrimSpace(line)
	w := t.weigh(line, text)
	if w == plain {
		return
	}
	if len(text) > maxTelling {
		text = strings.ToValidUTF8(text[:maxTelling], "") + "…"
	}
	if len(t.lines) == keptTelling {
		t.lines = slices.Delete(t.lines, 0, 1)
	}
	t.lines = append(t.lines, tellingLine{text: text, weight: w, at: t.count})
}

func (t *telling) weigh(line, text string) weight {
	indented := line != "" && (line[0] == ' ' || line[0] == '\t')
	switch {
	case strings.HasPrefix(line, "Traceback (most recent call last):"):
		t.within = true
		return plain
	case t.within && indented:
		return plain // a line of code, whatever it says
	case t.within:
		t.within = false
		if !ending(text) {
			return raised
		}
		return plain
	case ending(text):
		return plain
	case t.exceptions.MatchString(text):
		return raised
	case t.reports.MatchString(text) && !t.chatter.MatchString(text):
		return reported
	}
	return plain
}

// ending reports whether a line tells of an end that was asked for.
func ending(text string) bool {
	for _, what := range []string{"CancelledError", "KeyboardInterrupt", "SystemExit", "Event loop is closed"} {
		if strings.Contains(text, what) {
			return true
		}
	}
	return false
}

// reasons are the lines that most look like one, of those written of late: the
// first and the last of them.
func (t *telling) reasons() []string {
	var best weight
	for _, l := range t.lines {
		if t.count-l.at < tellingFor {
			best = max(best, l.weight)
		}
	}
	var out []string
	for _, l := range t.lines {
		if l.weight == best && t.count-l.at < tellingFor && !slices.Contains(out, l.text) {
			out = append(out, l.text)
		}
	}
	if len(out) > shownReason {
		out = []string{out[0], out[len(out)-1]}
	}
	return out
}
