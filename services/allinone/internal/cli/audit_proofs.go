package cli

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// maxNote bounds a file that is one checkpoint.
const maxNote = 16 << 10

// readCheckpoints reads files of checkpoints, and directories of such files: JSON
// lines, or one note as it was signed.
func readCheckpoints(paths []string) (out []string, err error) {
	for _, path := range paths {
		files := []string{path}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			files = nil
			entries, err := os.ReadDir(path)
			if err != nil {
				return nil, usagef("%s: cannot be read", path)
			}
			for _, e := range entries {
				if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
					files = append(files, filepath.Join(path, e.Name()))
				}
			}
		}
		for _, file := range files {
			found, err := readNotes(file)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	return out, nil
}

func readNotes(path string) (out []string, err error) {
	f, err := openInput(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, maxNote)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: cannot be read", path)
	}
	if text := string(head[:n]); strings.HasPrefix(text, "poterne/audit/") {
		return []string{text}, nil
	}
	_, err = eachLine(path, func(l auditproof.Line) {
		if l.Checkpoint != "" {
			out = append(out, l.Checkpoint)
		}
	})
	return out, err
}

func (a *app) ownKeys() {
	fmt.Fprintln(a.streams.Err, "poterne: the keys are those in the files: who could change the files may have changed them too (--key)")
}

// unsigned says what nobody has signed, of records that are otherwise in order.
func unsigned(r auditproof.Report, all bool) error {
	switch {
	case r.Checkpoints() == 0:
		return fmt.Errorf("nothing is proven: none of the %d records is under a checkpoint that a known key has signed (--checkpoints names files of them)", r.Records+r.Unchained)
	case all && r.Unsigned() > 0:
		return fmt.Errorf("%d of the %d records are not under a signed checkpoint", r.Unsigned(), r.Records+r.Unchained)
	default:
		return nil
	}
}

// verifySelection verifies records that come with proofs of their own.
func (a *app) verifySelection(paths []string, keys note.Verifiers, kept []string, own, signed bool) error {
	s := auditproof.NewSelection(keys)
	for _, text := range kept {
		s.Checkpoint(text)
	}
	for _, path := range paths {
		if _, err := eachLine(path, func(l auditproof.Line) {
			if l.Record != nil {
				s.Record(*l.Record, l.Proof)
			}
		}); err != nil {
			return err
		}
	}
	if own && keys != nil {
		a.ownKeys()
	}
	r := s.Report()
	if r.Found > 0 {
		return a.printReport(r)
	}
	if signed && s.Unproven > 0 || s.Unproven == r.Records && r.Records > 0 {
		return fmt.Errorf("%d of the %d records have no proof: no checkpoint had them yet when they were exported", s.Unproven, r.Records)
	}
	fmt.Fprintf(a.streams.Err, "as recorded: %d records, %d of them without a proof yet; whether others were left out, a selection cannot tell\n", r.Records, s.Unproven)
	return nil
}

func (a *app) auditConsistencyCommand() *cobra.Command {
	var keys, files []string
	cmd := &cobra.Command{
		Use: "consistency --key KEY --checkpoints FILE", Short: "Prove that kept checkpoints of a chain follow each other", Args: noArgs,
		Long: `Asks the gateway for consistency proofs (RFC 6962) between the checkpoints of each
chain, from the smallest to the largest, and verifies them here: the gateway can
prove only what it did not rewrite.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files) == 0 || len(keys) == 0 {
				return usagef("--key and --checkpoints are needed")
			}
			texts, err := readKeys(keys)
			if err != nil {
				return err
			}
			known, err := auditproof.Keys(texts...)
			if err != nil {
				return usageError{err}
			}
			notes, err := readCheckpoints(files)
			if err != nil {
				return err
			}
			return a.checkConsistency(cmd, known, notes)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "a verification key of `audit keys`, or a file of them; may be repeated")
	cmd.Flags().StringArrayVar(&files, "checkpoints", nil, "a file of kept checkpoints, or a directory of such files; may be repeated")
	return cmd
}

func (a *app) checkConsistency(cmd *cobra.Command, known note.Verifiers, notes []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var all []auditproof.Checkpoint
	for _, text := range notes {
		cp, err := auditproof.OpenCheckpoint(text, known)
		if err != nil {
			return err
		}
		if cp.Tree.Size > 0 && !cp.Pruned {
			all = append(all, cp)
		}
	}
	slices.SortStableFunc(all, func(a, b auditproof.Checkpoint) int {
		return cmp.Or(cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.Tree.Size, b.Tree.Size))
	})
	rows := []any{}
	for i := 1; i < len(all); i++ {
		older, newer := all[i-1], all[i]
		if older.Chain != newer.Chain {
			continue
		}
		proof, err := consistencyProof(cmd, c, older, newer)
		if err != nil {
			return fmt.Errorf("chain %s from %d to %d: %w", older.Chain, older.Tree.Size, newer.Tree.Size, err)
		}
		if err := auditproof.CheckConsistency(older, newer, proof); err != nil {
			return fmt.Errorf("chain %s from %d to %d: %w", older.Chain, older.Tree.Size, newer.Tree.Size, err)
		}
		rows = append(rows, map[string]any{"chain": older.Chain, "from": older.Tree.Size, "to": newer.Tree.Size})
	}
	if len(rows) == 0 {
		return errors.New("nothing is proven: there are no two checkpoints of one chain")
	}
	return a.print(rows, columns("CHAIN chain", "FROM from", "TO to"))
}

func consistencyProof(cmd *cobra.Command, c *client, older, newer auditproof.Checkpoint) ([]auditproof.Hash, error) {
	if older.Tree.Size == newer.Tree.Size {
		return nil, nil
	}
	query := url.Values{
		"chain": {older.Chain}, "from_size": {strconv.FormatInt(older.Tree.Size, 10)}, "to_size": {strconv.FormatInt(newer.Tree.Size, 10)},
	}
	var answer struct{ Hashes []string }
	if err := c.call(cmd.Context(), http.MethodGet, auditPath+":consistency?"+query.Encode(), nil, &answer); err != nil {
		return nil, err
	}
	out := make([]auditproof.Hash, 0, len(answer.Hashes))
	for _, text := range answer.Hashes {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != len(auditproof.Hash{}) {
			return nil, errors.New("the gateway's proof cannot be read")
		}
		out = append(out, auditproof.Hash(raw))
	}
	return out, nil
}
