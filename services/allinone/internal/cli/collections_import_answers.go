package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
)

// importAnswer is one line of an import's answer.
type importAnswer struct {
	Verdict  *verdict `json:"verdict"`
	Progress *struct {
		Settled  int64    `json:"settled_lines"`
		Done     bool     `json:"done"`
		Warnings []string `json:"warnings"`
	} `json:"progress"`
	Error json.RawMessage `json:"error"`
}

// verdict says what became of a line.
type verdict struct {
	Line    int64  `json:"line"`
	ID      string `json:"id"` // "" where the line could not be read
	Status  string `json:"status"`
	Settled int64  `json:"settled_lines"`
	Error   *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// failure says for people why a document failed.
func (v verdict) failure() string {
	document := ""
	if v.ID != "" {
		document = fmt.Sprintf(", document %q", v.ID)
	}
	return fmt.Sprintf("line %d%s: %s (%s)", v.Line, document, v.Error.Message, v.Error.Code)
}

// answers reads what became of the lines until everything is settled.
func (r *importRun) answers(resp *http.Response, heard func()) error {
	scanner := bufio.NewScanner(resp.Body)
	scanner.Buffer(nil, maxEventBytes)
	for scanner.Scan() {
		heard()
		var a importAnswer
		if err := json.Unmarshal(scanner.Bytes(), &a); err != nil {
			return fmt.Errorf("the answer is not lines of JSON: %w", err)
		}
		if a.Error != nil {
			return errorFrom(a.Error, resp.StatusCode, resp.Header.Get("x-request-id"))
		}
		if v := a.Verdict; v != nil {
			r.counts[v.Status]++
			r.settle(v.Settled)
			if v.Error != nil {
				r.progress.line(v.failure())
			}
		}
		if p := a.Progress; p != nil {
			r.settle(p.Settled)
			if r.progress.terminal {
				r.progress.show(fmt.Sprintf("%d lines, %d failed", r.settled, r.counts["failed"]), -1)
			}
			if p.Done {
				r.warnings = p.Warnings
				return nil
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("%w: %w", errImportLost, err)
	}
	return errImportLost
}

func (r *importRun) settle(n int64) {
	r.settled = max(r.settled, n)
	r.input.settle(r.settled)
}
