package auditproof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// KeyName is the name in every key that signs checkpoints.
const KeyName = "poterne-audit"

// originPrefix is before the chain in a checkpoint's first line.
const originPrefix = "poterne/audit/"

// maxCheckpoint bounds a checkpoint's text: a tree's edge has at most 63 hashes.
const maxCheckpoint = 8 << 10

// Checkpoint is what is signed of a chain: how many records it has, the root of the
// tree over them, and what is needed to go on from there.
type Checkpoint struct {
	Chain string
	// Tree is over the chain's records so far.
	Tree Tree
	// Head is the hash of the last record, or of the chain's registration.
	Head Hash
	// Time is when it was signed.
	Time time.Time
	// Pruned says that the records that it covers were deleted by retention, so that
	// the chain begins here.
	Pruned bool
	// Ended says that the chain has no more records than these.
	Ended bool
}

// Sign returns the checkpoint as C2SP's tlog-checkpoint: the origin, the size, the
// root, then lines of our own, and the signature. Several keys may sign.
func (c *Checkpoint) Sign(signers ...note.Signer) (string, error) {
	var b strings.Builder
	root := c.Tree.Root()
	fmt.Fprintf(&b, "%s%s\n%d\n%s\n", originPrefix, c.Chain, c.Tree.Size, base64.StdEncoding.EncodeToString(root[:]))
	fmt.Fprintf(&b, "head %s\ntime %d\n", c.Head, c.Time.UnixMicro())
	for _, h := range c.Tree.Edge {
		fmt.Fprintf(&b, "edge %s\n", h)
	}
	if c.Pruned {
		b.WriteString("pruned\n")
	}
	if c.Ended {
		b.WriteString("ended\n")
	}
	signed, err := note.Sign(&note.Note{Text: b.String()}, signers...)
	if err != nil {
		return "", fmt.Errorf("auditproof: sign a checkpoint: %w", err)
	}
	return string(signed), nil
}

// OpenCheckpoint reads a checkpoint that one of the keys signed.
func OpenCheckpoint(text string, keys note.Verifiers) (Checkpoint, error) {
	if len(text) > maxCheckpoint {
		return Checkpoint{}, errors.New("the checkpoint is too long")
	}
	n, err := note.Open([]byte(text), keys)
	if err != nil {
		if _, unsigned := errors.AsType[*note.UnverifiedNoteError](err); unsigned {
			return Checkpoint{}, errors.New("no known key has signed the checkpoint")
		}
		return Checkpoint{}, fmt.Errorf("the checkpoint: %w", err)
	}
	return readCheckpoint(n.Text)
}

// ReadCheckpoint reads a checkpoint without looking at its signature.
func ReadCheckpoint(text string) (Checkpoint, error) {
	body, _, ok := strings.Cut(text, "\n\n")
	if !ok || len(text) > maxCheckpoint {
		return Checkpoint{}, errors.New("the checkpoint has no signature")
	}
	return readCheckpoint(body + "\n")
}

func readCheckpoint(body string) (c Checkpoint, err error) {
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(lines) < 5 {
		return c, errors.New("the checkpoint is not whole")
	}
	chain, ok := strings.CutPrefix(lines[0], originPrefix)
	if !ok || chain == "" {
		return c, errors.New("the checkpoint is of another kind of log")
	}
	c.Chain = chain
	if c.Tree.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Tree.Size < 0 {
		return c, errors.New("the checkpoint has no size")
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return c, errors.New("the checkpoint has no root")
	}
	for _, line := range lines[3:] {
		word, value, _ := strings.Cut(line, " ")
		switch word {
		case "head":
			err = c.Head.UnmarshalText([]byte(value))
		case "time":
			var us int64
			us, err = strconv.ParseInt(value, 10, 64)
			c.Time = time.UnixMicro(us).UTC()
		case "edge":
			var h Hash
			err = h.UnmarshalText([]byte(value))
			c.Tree.Edge = append(c.Tree.Edge, h)
		case "pruned":
			c.Pruned = true
		case "ended":
			c.Ended = true
		}
		if err != nil {
			return c, fmt.Errorf("the checkpoint has a bad %s line", word)
		}
	}
	if r := c.Tree.Root(); !c.Tree.whole() || !bytes.Equal(r[:], root) {
		return c, errors.New("the checkpoint's root is not that of its tree")
	}
	return c, nil
}

// Keys reads verification keys, in the form of C2SP's signed-note.
func Keys(texts ...string) (note.Verifiers, error) {
	var list []note.Verifier
	seen := make(map[string]bool)
	for _, text := range texts {
		if seen[text] {
			continue
		}
		seen[text] = true
		v, err := note.NewVerifier(text)
		if err != nil {
			return nil, fmt.Errorf("auditproof: %q is not a verification key such as %s+0123abcd+A…: %w", text, KeyName, err)
		}
		list = append(list, v)
	}
	return note.VerifierList(list...), nil
}
