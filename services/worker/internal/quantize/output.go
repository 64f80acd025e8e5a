package quantize

import (
	"math"
	"strconv"
	"strings"
	"sync"
)

// maxPiece bounds one piece of a program's output; the rest of a longer one is
// dropped.
const maxPiece = 4 << 10

// pieces cuts a program's output at ends of lines and at commas: llama-perplexity
// writes its progress as one long line, `[1]12.3456,[2]11.2345,`. It calls see
// from one goroutine at a time.
type pieces struct {
	see func(piece string)

	mu      sync.Mutex
	partial []byte
	ended   bool
}

// Write never fails.
func (p *pieces) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return len(b), nil
	}
	for _, c := range b {
		if c == '\n' || c == '\r' || c == ',' {
			p.flush()
		} else if len(p.partial) < maxPiece {
			p.partial = append(p.partial, c)
		}
	}
	return len(b), nil
}

// end hands over what is left, and takes no more: a child of the program may write
// on.
func (p *pieces) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
	p.ended = true
}

func (p *pieces) flush() {
	if text := strings.TrimSpace(string(p.partial)); text != "" {
		p.see(text)
	}
	p.partial = p.partial[:0]
}

// parseStep reads llama-quantize's `[  12/ 272] blk.0.attn_k.weight …`.
func parseStep(piece string) (done, total int, ok bool) {
	inside, ok := strings.CutPrefix(piece, "[")
	if !ok {
		return 0, 0, false
	}
	inside, _, closed := strings.Cut(inside, "]")
	before, after, slash := strings.Cut(inside, "/")
	done, first := count(before)
	total, second := count(after)
	return done, total, closed && slash && first && second && total > 0 && done <= total
}

// parseChunk reads llama-perplexity's `[12]34.5678`.
func parseChunk(piece string) (n int, ok bool) {
	inside, ok := strings.CutPrefix(piece, "[")
	number, value, closed := strings.Cut(inside, "]")
	n, counted := count(number)
	_, err := strconv.ParseFloat(value, 64)
	return n, ok && closed && counted && err == nil
}

// parseChunks reads `… calculating perplexity over 18 chunks`.
func parseChunks(piece string) (int, bool) {
	return between(piece, "calculating perplexity over ", " chunks")
}

// parseNeeded and parseGot read what is said of a text that is too short.
func parseNeeded(piece string) (int, bool) { return between(piece, "you need at least ", " tokens") }

func parseGot(piece string) (int, bool) { return between(piece, "tokenizes to only ", " tokens") }

// parseFinal reads `Final estimate: PPL = 12.3456 +/- 0.12345`. What is no
// perplexity is not one.
func parseFinal(piece string) (value, deviation float64, ok bool) {
	_, rest, found := strings.Cut(piece, "Final estimate: PPL = ")
	first, second, both := strings.Cut(rest, " +/- ")
	value, err1 := strconv.ParseFloat(strings.TrimSpace(first), 64)
	deviation, err2 := strconv.ParseFloat(strings.TrimSpace(second), 64)
	// A NaN is within no bounds.
	ok = found && both && err1 == nil && err2 == nil && value >= 1 && value <= math.MaxFloat32 && deviation >= 0 && deviation <= math.MaxFloat32
	return value, deviation, ok
}

// parseBuild reads `main: build = 9190 (b64739e)`, or `build: 9190 (b64739e)`.
func parseBuild(piece string) (string, bool) {
	for _, before := range []string{"build = ", "build: "} {
		_, rest, found := strings.Cut(piece, before)
		number, commit, open := strings.Cut(rest, " (")
		commit, _, closed := strings.Cut(commit, ")")
		if found && open && closed && isNumber(number) && len(number) <= 9 && len(commit) <= 40 && isWord(commit) {
			return number + " (" + commit + ")", true
		}
	}
	return "", false
}

func isWord(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

func between(text, before, after string) (int, bool) {
	_, rest, found := strings.Cut(text, before)
	number, _, ended := strings.Cut(rest, after)
	n, ok := count(number)
	return n, ok && found && ended
}

// count reads a count of at most nine digits, with spaces around it.
func count(text string) (int, bool) {
	text = strings.TrimSpace(text)
	if !isNumber(text) || len(text) > 9 {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}
