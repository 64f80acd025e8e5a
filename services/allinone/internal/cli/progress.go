package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress tells how long work goes on: on a terminal in one line that changes,
// elsewhere with a line for each of its phases.
type progress struct {
	out      io.Writer
	terminal bool
	last     string // phase
	open     bool   // a line of the terminal has no end yet
}

func (a *app) newProgress() *progress {
	p := &progress{out: a.streams.Err}
	if f, ok := a.streams.Err.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// line writes a whole line.
func (p *progress) line(text string) {
	p.end()
	fmt.Fprintln(p.out, text)
}

// phase tells of an event of progress.
func (p *progress) phase(event map[string]any) {
	percent := -1.0
	if event["percent"] != nil {
		percent = number(event["percent"])
	}
	p.show(phaseName(cell(event["phase"])), percent)
}

// show tells what is being done and how far it is; below 0 nobody knows.
func (p *progress) show(name string, percent float64) {
	if !p.terminal {
		if name != p.last {
			fmt.Fprintln(p.out, name)
		}
		p.last = name
		return
	}
	text := name
	if percent >= 0 {
		text = fmt.Sprintf("%s %.0f %%", name, percent)
	}
	// Back to the line's beginning, and what was there is wiped out.
	fmt.Fprintf(p.out, "\r\x1b[K%s", text)
	p.open = true
}

// end ends the line that changes.
func (p *progress) end() {
	if p.open {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.open = false
}

func phaseName(phase string) string {
	switch phase {
	case "QUANTIZE_PHASE_FETCHING":
		return "fetching the source"
	case "QUANTIZE_PHASE_MEASURING_SOURCE":
		return "measuring the source"
	case "QUANTIZE_PHASE_QUANTIZING":
		return "making the weights"
	case "QUANTIZE_PHASE_MEASURING":
		return "measuring the result"
	case "QUANTIZE_PHASE_STORING":
		return "storing the result"
	default: // of a newer gateway
		return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(phase, "QUANTIZE_PHASE_"), "_", " "))
	}
}
