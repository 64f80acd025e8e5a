package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/edge/auditproof"
)

func findingColumns() []column {
	return columns("KIND kind", "CHAIN chain", "FIRST first_sequence", "LAST last_sequence", "ID id", "DETAIL detail")
}

// auditKeyTitles are those of the table of keys, which verify --key reads too.
func auditKeyTitles() []string { return []string{"KEY", "SINCE"} }

func (a *app) verifyOnline(cmd *cobra.Command, chain string, checkpoints []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if c.timeout < verifyTimeout {
		c.timeout = verifyTimeout
	}
	var out map[string]any
	body := map[string]any{"chain": chain, "checkpoints": checkpoints}
	if err := c.call(cmd.Context(), http.MethodPost, auditPath+":verify", body, &out); err != nil {
		return err
	}
	intact, _ := out["intact"].(bool)
	if !intact {
		if err := a.print(out["findings"], findingColumns()); err != nil {
			return err
		}
		return fmt.Errorf("the audit trail is not as it was recorded: %v finding(s)", out["finding_count"])
	}
	return a.print(out, columns("INTACT intact", "RECORDS records", "UNCHAINED unchained_records", "SINCE chain_begin_time"))
}

// openInput opens a file that the command line names.
func openInput(path string) (*os.File, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		if cause, ok := errors.AsType[*fs.PathError](err); ok {
			err = cause.Err
		}
		return nil, usagef("%s: %w", path, err)
	}
	return f, nil
}

func eachLine(path string, fn func(auditproof.Line)) (torn bool, err error) {
	f, err := openInput(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	torn, err = auditproof.ReadLines(f, func(_ int, l auditproof.Line) error { fn(l); return nil })
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return torn, nil
}

// readKeys reads keys, each given as it is or as a file of them: one a line, or
// what audit keys prints, in which the time it is known since stands behind it.
func readKeys(given []string) (out []string, err error) {
	for _, g := range given {
		if strings.HasPrefix(g, auditproof.KeyName+"+") {
			out = append(out, g)
			continue
		}
		f, err := os.Open(filepath.Clean(g))
		if err != nil {
			return nil, usagef("--key: neither a key nor a file of them: %w", err)
		}
		in := bufio.NewScanner(f)
		for in.Scan() {
			words := strings.Fields(in.Text())
			if len(words) == 0 || strings.HasPrefix(words[0], "#") || slices.Equal(words, auditKeyTitles()) {
				continue
			}
			out = append(out, words[0])
		}
		if err := errors.Join(in.Err(), f.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// verifyFiles verifies a trail without a gateway. It reads the files twice: what
// proves the records may stand behind them.
func (a *app) verifyFiles(paths, given, elsewhere []string, signed bool) error {
	keys, err := readKeys(given)
	if err != nil {
		return err
	}
	own := len(keys) == 0
	var regs []auditproof.Registration
	texts := elsewhere
	torn, proofs := false, false
	for _, path := range paths {
		cut, err := eachLine(path, func(l auditproof.Line) {
			proofs = proofs || l.Proof != ""
			switch {
			case l.Registration != nil:
				regs = append(regs, *l.Registration)
			case l.Checkpoint != "":
				texts = append(texts, l.Checkpoint)
			case l.Key != "" && own:
				keys = append(keys, l.Key)
			}
		})
		if err != nil {
			return err
		}
		torn = torn || cut
	}
	opts := auditproof.Options{Registered: len(regs) > 0, Repeats: len(regs) == 0}
	if len(keys) > 0 {
		if opts.Keys, err = auditproof.Keys(keys...); err != nil {
			return usageError{err}
		}
	} else if len(texts) > 0 {
		fmt.Fprintln(a.streams.Err, "poterne: no key is known: the signatures of checkpoints are not verified (--key)")
	}
	must := signed || len(given) > 0
	if proofs {
		return a.verifySelection(paths, opts.Keys, texts, own, signed)
	}
	v := auditproof.NewVerifier(opts)
	for _, r := range regs {
		v.Registration(r)
	}
	for _, text := range texts {
		v.Checkpoint(text)
	}
	for _, path := range paths {
		if _, err := eachLine(path, func(l auditproof.Line) {
			if l.Record != nil {
				v.Record(*l.Record)
			}
		}); err != nil {
			return err
		}
	}
	if own && len(keys) > 0 {
		a.ownKeys()
	}
	if torn {
		fmt.Fprintln(a.streams.Err, "poterne: the last line of a file is not whole, and left out")
	}
	report := v.Finish()
	if report.Found == 0 && must {
		if err := unsigned(report, signed); err != nil {
			return err
		}
	}
	return a.printReport(report)
}

func (a *app) printReport(r auditproof.Report) error {
	if r.Found == 0 {
		chains := []any{}
		for _, c := range r.Chains {
			chains = append(chains, map[string]any{
				"chain": c.Chain, "first_sequence": c.From, "size": c.Size, "checkpoints": c.Checkpoints, "signed_size": c.Proven,
			})
		}
		fmt.Fprintf(a.streams.Err, "intact: %d records in %d chains, %d from before the chains\n", r.Records, len(r.Chains), r.Unchained)
		return a.print(chains, columns("CHAIN chain", "FIRST first_sequence", "SIZE size", "CHECKPOINTS checkpoints", "SIGNED signed_size"))
	}
	findings := []any{}
	for _, f := range r.Findings {
		findings = append(findings, map[string]any{
			"kind": f.Kind, "chain": f.Chain, "first_sequence": f.From, "last_sequence": f.To, "id": f.ID, "detail": f.Detail,
		})
	}
	if err := a.print(findings, findingColumns()); err != nil {
		return err
	}
	return fmt.Errorf("the audit trail is not as it was recorded: %d finding(s)", r.Found)
}
