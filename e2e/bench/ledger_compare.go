package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/e2e/process"
)

// counted is what an engine counted of a request: all, and what it told.
type counted struct {
	ID     string `json:"request_id"`
	Prompt int    `json:"prompt_tokens"`
	Made   int    `json:"generated_tokens"`
	Told   int    `json:"told_tokens"`
	runs   int
}

// settled is what the ledger has of a request.
type settled struct{ rows, input, output int }

// engines returns the addresses of the model's engines: the workers' children.
func (l *ledgerRun) engines(context.Context) ([]string, error) {
	var out []string
	for _, name := range []string{"worker-1", "worker-2"} {
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", l.mesh.Process(name).Pid()))
		if err != nil {
			return nil, err
		}
		for _, list := range lists {
			raw, err := os.ReadFile(list)
			if err != nil {
				continue // a thread that has ended
			}
			for child := range strings.FieldsSeq(string(raw)) {
				line, err := os.ReadFile("/proc/" + child + "/cmdline")
				args := strings.Split(string(line), "\x00")
				if err != nil || !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, ledgerModel) }) {
					continue
				}
				if i := slices.Index(args, "--port"); i >= 0 && i+1 < len(args) {
					out = append(out, "127.0.0.1:"+args[i+1])
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no engine of the model is found")
	}
	return out, nil
}

func (l *ledgerRun) engine(ctx context.Context, addr, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}

// byEngines is what the engines counted, by request.
func (l *ledgerRun) byEngines(ctx context.Context) (map[string]counted, error) {
	engines, err := l.engines(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]counted)
	for _, e := range engines {
		var list []counted
		if err := l.engine(ctx, e, "/sim/requests", &list); err != nil {
			return nil, err
		}
		for _, c := range list {
			had := out[c.ID]
			out[c.ID] = counted{ID: c.ID, Prompt: had.Prompt + c.Prompt, Made: had.Made + c.Made, Told: had.Told + c.Told, runs: had.runs + 1}
		}
	}
	return out, nil
}

// byLedger is what is settled, by request, straight from the database.
func (l *ledgerRun) byLedger(ctx context.Context) (map[string]settled, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(l.parts.PostgresBin, "psql"), l.mesh.EdgeDSN(), "-At", "-F", "|", "-c",
		"SELECT request_id, input, output FROM edge_usage WHERE model = '"+ledgerModel+"'")
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("psql: %w", err)
	}
	out := make(map[string]settled)
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 3 {
			return nil, fmt.Errorf("psql: %q", line)
		}
		input, err1 := strconv.Atoi(f[1])
		output, err2 := strconv.Atoi(f[2])
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		s := out[f[0]]
		out[f[0]] = settled{s.rows + 1, s.input + input, s.output + output}
	}
	return out, nil
}

// budget returns what is settled and reserved of the budget of tokens.
func (l *ledgerRun) budget(ctx context.Context) (used, reserved int, err error) {
	out, err := l.call(ctx, 0, http.MethodGet, "/v1/admin/budgets/tokens", "")
	if err != nil {
		return 0, 0, err
	}
	b, _ := out["budget"].(map[string]any)
	standing, _ := b["standing"].(map[string]any)
	number := func(name string) int {
		n, _ := strconv.ParseFloat(fmt.Sprint(standing[name]), 64)
		return int(n)
	}
	return number("settled"), number("reserved"), nil
}

// compare makes the rows.
func (l *ledgerRun) compare(ctx context.Context, took time.Duration) ([]Row, error) {
	idle, cancel := context.WithTimeout(ctx, ledgerTTL+20*time.Second)
	defer cancel()
	// What edges hold for the next requests they give back when there are none.
	_ = process.Poll(idle, func(ctx context.Context) error {
		_, reserved, err := l.budget(ctx)
		if err == nil && reserved != 0 {
			err = errors.New("something is reserved")
		}
		return err
	})
	used, reserved, err := l.budget(ctx)
	if err != nil {
		return nil, err
	}
	made, err := l.byEngines(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := l.byLedger(ctx)
	if err != nil {
		return nil, err
	}
	check, err := l.call(ctx, 1, http.MethodPost, "/v1/admin/usage:check", "{}")
	if err != nil {
		return nil, err
	}
	r := l.tally(made, rows)
	sum := 0
	for _, s := range rows {
		sum += s.input + s.output
	}
	out := []Row{
		told("requests: "+r.kinds(), fmt.Sprintf("%d in %s, %d kills of an edge", len(l.plans), took.Round(time.Second), l.kills)),
		{What: "tokens settled, of requests that no kill cut off", Measured: strconv.Itoa(r.settled), Bar: fmt.Sprintf("= %d that the engines counted", r.counted), Holds: r.settled == r.counted},
		{What: "requests whose tokens differ", Measured: fmt.Sprint(len(r.differ), " ", first(r.differ)), Bar: "0", Holds: len(r.differ) == 0},
		{What: "whole answers without exactly one entry of the very numbers", Measured: fmt.Sprint(len(r.missing), " ", first(r.missing)), Bar: "0", Holds: len(r.missing) == 0},
		{What: "requests of one Idempotency-Key that ran twice", Measured: fmt.Sprint(len(r.twice), " ", first(r.twice)), Bar: "0", Holds: len(r.twice) == 0},
		{What: "requests in hand at a kill: tokens settled", Measured: strconv.Itoa(r.cutSettled), Bar: fmt.Sprintf("<= %d that the engines made", r.cutMade), Holds: r.cutSettled <= r.cutMade},
		{What: "settled of the budget", Measured: strconv.Itoa(used), Bar: fmt.Sprintf("= %d, the sum of the entries", sum), Holds: used == sum},
		{What: "reserved at the end", Measured: strconv.Itoa(reserved), Bar: "0", Holds: reserved == 0},
		{What: "differences that usage:check finds", Measured: fmt.Sprint(check["difference_count"]), Bar: "0", Holds: check["adds_up"] == true},
	}
	return out, nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// tally is what comparing all requests comes to.
type tally struct {
	settled, counted, cutSettled, cutMade int
	cut                                   int
	differ, missing, twice                []string
	kind                                  map[string]int
}

func (t tally) kinds() string {
	var parts []string
	for k, n := range t.kind {
		parts = append(parts, fmt.Sprintf("%s %d", k, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ") + fmt.Sprintf("; cut off by a kill %d", t.cut)
}

func (l *ledgerRun) tally(made map[string]counted, rows map[string]settled) tally {
	t := tally{kind: make(map[string]int)}
	runs := make(map[string]int)
	lost := make(map[string]bool)
	for _, p := range l.plans {
		t.kind[p.kind]++
		m, s := made[p.id], rows[p.id]
		describe := func() string { return fmt.Sprintf("%+v: engine %+v, ledger %+v", *p, m, s) }
		if p.once != "" {
			runs[p.once] += m.runs
			lost[p.once] = lost[p.once] || p.lost
		}
		if p.whole && (s.rows != 1 || s.input != p.input || s.output != p.output) {
			t.missing = append(t.missing, describe())
		}
		if p.lost { // in hand when its edge was killed, or the edge was not there
			t.cut++
			t.cutSettled += s.input + s.output
			t.cutMade += m.Prompt + m.Made
			if s.input > m.Prompt || s.output > m.Made || s.rows > 1 {
				t.differ = append(t.differ, describe())
			}
			continue
		}
		t.settled += s.input + s.output
		t.counted += m.Prompt + m.Told
		if s.input != m.Prompt || s.output != m.Told {
			t.differ = append(t.differ, describe())
		}
	}
	for key, n := range runs {
		if n > 1 && !lost[key] {
			t.twice = append(t.twice, key)
		}
	}
	return t
}
