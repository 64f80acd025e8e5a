package auditproof

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// proofForm is the first line of C2SP's tlog-proof.
const proofForm = "c2sp.org/tlog-proof@v1"

// maxProofHashes is the most that a tree of 2^63 records needs.
const maxProofHashes = 64

// Inclusion proves that a record is among those that a checkpoint was signed over.
type Inclusion struct {
	// Index is the record's number in its chain.
	Index  int64
	Hashes []Hash
	// Checkpoint is the signed note.
	Checkpoint string
}

// Text returns the proof in the form of C2SP's tlog-proof. What it is about is the
// record's hash, as the entry of the log.
func (p Inclusion) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nindex %d\n", proofForm, p.Index)
	for _, h := range p.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n" + p.Checkpoint)
	return b.String()
}

// ReadInclusion reads what Text wrote.
func ReadInclusion(text string) (p Inclusion, err error) {
	bad := errors.New("the proof is not one of C2SP's tlog-proof")
	if len(text) > maxCheckpoint+maxProofHashes*64 {
		return p, bad
	}
	head, checkpoint, ok := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || lines[0] != proofForm || len(lines) < 2 || len(lines) > 2+maxProofHashes {
		return p, bad
	}
	number, ok := strings.CutPrefix(lines[1], "index ")
	if p.Index, err = strconv.ParseInt(number, 10, 64); !ok || err != nil || p.Index < 0 || strconv.FormatInt(p.Index, 10) != number {
		return p, bad
	}
	for _, line := range lines[2:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != len(Hash{}) {
			return p, bad
		}
		p.Hashes = append(p.Hashes, Hash(raw))
	}
	p.Checkpoint = checkpoint
	return p, nil
}

// Verify verifies that r, as it stands, is a record of the checkpoint, which one of
// the keys has signed; keys are nil when signatures are not looked at.
func (p Inclusion) Verify(r *Record, keys note.Verifiers) (Checkpoint, error) {
	c, err := ReadCheckpoint(p.Checkpoint)
	if err == nil && keys != nil {
		c, err = OpenCheckpoint(p.Checkpoint, keys)
	}
	switch {
	case err != nil:
		return c, err
	case r.Sum() != r.Hash:
		return c, errors.New("what it says does not have its hash")
	case c.Chain != r.Chain || p.Index != r.Sequence:
		return c, errors.New("its proof is of another record")
	}
	hashes := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = tlog.Hash(h)
	}
	if tlog.CheckRecord(hashes, c.Tree.Size, tlog.Hash(c.Tree.Root()), p.Index, tlog.RecordHash(r.Hash[:])) != nil {
		return c, errors.New("its proof does not lead to the checkpoint: it is not among the records that were signed")
	}
	return c, nil
}
