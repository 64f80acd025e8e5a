package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// Keys signs checkpoints with the key in a file, and verifies those of earlier keys
// and of other replicas. It is safe for concurrent use.
type Keys struct {
	signer note.Signer
	own    string

	mu    sync.Mutex
	texts []string
	known note.Verifiers
}

// LoadKeys reads the signing key from a file, readable by its owner only, which is
// made from random when it is not there. To change the key, put the file away: a new
// chain then begins with a new one. trusted are verification keys that count besides;
// when there are any, no other but the own one does.
func LoadKeys(path string, random io.Reader, trusted []string) (*Keys, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		private, public, err := note.GenerateKey(random, auditproof.KeyName)
		if err == nil {
			_, err = fmt.Fprintf(f, "%s\n%s\n", private, public)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return nil, errors.Join(fmt.Errorf("audit: make the signing key: %w", err), os.Remove(path))
		}
	} else if !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("audit: make the signing key: %w", err)
	}
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("audit: read the signing key: %w", err)
	}
	in := bufio.NewScanner(strings.NewReader(string(raw)))
	var lines []string
	for in.Scan() {
		if line := strings.TrimSpace(in.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 {
		return nil, fmt.Errorf("audit: %s does not hold a signing key and its verification key, one a line", path)
	}
	k := &Keys{own: lines[1]}
	if k.signer, err = note.NewSigner(lines[0]); err != nil {
		return nil, fmt.Errorf("audit: %s: the signing key cannot be read", path) // what it holds is secret
	}
	v, err := note.NewVerifier(lines[1])
	if err != nil || v.KeyHash() != k.signer.KeyHash() {
		return nil, fmt.Errorf("audit: %s: the two keys do not belong together", path)
	}
	if err := k.Trust(trusted...); err != nil {
		return nil, err
	}
	return k, nil
}

// Own returns the verification key of what this process signs.
func (k *Keys) Own() string { return k.own }

// Trust has checkpoints count that one of these keys signed.
func (k *Keys) Trust(texts ...string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := append([]string{k.own}, k.texts...)
	all = append(all, texts...)
	known, err := auditproof.Keys(all...)
	if err != nil {
		return err
	}
	k.texts, k.known = all[1:], known
	return nil
}

// Verifiers returns every key that counts.
func (k *Keys) Verifiers() note.Verifiers {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known
}

// Sign signs c.
func (k *Keys) Sign(c auditproof.Checkpoint) (string, error) { return c.Sign(k.signer) }

// Open reads a checkpoint that one of the keys signed.
func (k *Keys) Open(text string) (auditproof.Checkpoint, error) {
	return auditproof.OpenCheckpoint(text, k.Verifiers())
}
