package authz

import (
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

//go:embed model.conf
var modelText string

//go:embed policy.csv
var defaultPolicy string

// maxPolicyBytes bounds a policy from outside.
const maxPolicyBytes = 8 << 20

// DefaultPolicy returns the policy for admin, developer and reader.
func DefaultPolicy() (Policy, error) { return ParsePolicy(strings.NewReader(defaultPolicy)) }

// ReadPolicy returns the default policy followed by the lines of the file, so
// that a file can add rules and deny what the default allows.
func ReadPolicy(path string) (Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return Policy{}, fmt.Errorf("authz: open the policy: %w", err)
	}
	defer f.Close()
	p, err := ParsePolicy(io.MultiReader(strings.NewReader(defaultPolicy+"\n"), f))
	if err != nil {
		return Policy{}, fmt.Errorf("%w (in %s, counted from the default policy's first line)", err, path)
	}
	return p, nil
}

// ParsePolicy reads lines of p and g; policy.csv says what they mean. A line
// that could never be evaluated is an error: it would fail when it matters.
func ParsePolicy(r io.Reader) (Policy, error) {
	p, err := ParseLines(r)
	if err != nil {
		return Policy{}, err
	}
	if _, err := compileLayer(BaseLayer, p); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// ParseLines is ParsePolicy without a look at the conditions. A rule's ID is the
// number of its line.
func ParseLines(r io.Reader) (Policy, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPolicyBytes+1))
	if err != nil {
		return Policy{}, fmt.Errorf("authz: read the policy: %w", err)
	}
	if len(data) > maxPolicyBytes {
		return Policy{}, fmt.Errorf("authz: the policy is larger than %d bytes", maxPolicyBytes)
	}
	lines := csv.NewReader(strings.NewReader(string(data)))
	lines.Comment, lines.TrimLeadingSpace, lines.FieldsPerRecord = '#', true, -1
	var p Policy
	seen := make(map[string]struct{})
	for {
		rec, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Policy{}, fmt.Errorf("authz: read the policy: %w", err)
		}
		line, _ := lines.FieldPos(0)
		if err := p.add(rec, line, seen); err != nil {
			return Policy{}, fmt.Errorf("authz: policy line %d: %w", line, err)
		}
	}
	sum := sha256.Sum256(append([]byte(modelText), data...))
	p.Version = hex.EncodeToString(sum[:8])
	return p, nil
}

// The fields of a p line, with and without obligations, and of a g line.
const (
	ruleFields       = 7
	obligationFields = 8
	bindingFields    = 3
)

func (p *Policy) add(rec []string, line int, seen map[string]struct{}) error {
	for i, f := range rec {
		rec[i] = strings.TrimSpace(f)
		if rec[i] == "" {
			return fmt.Errorf("each field must have 1 to %d bytes", maxFieldBytes)
		}
	}
	whole := strings.Join(rec, "\x00")
	if _, ok := seen[whole]; ok {
		return errors.New("the same line is there already")
	}
	seen[whole] = struct{}{}
	kind, f := rec[0], rec[1:]
	switch {
	case kind == "g" && len(f) == bindingFields:
		b := Binding{Member: f[0], Role: f[1], Tenant: f[2]}
		p.Bindings = append(p.Bindings, b)
		return b.Check()
	case kind == "p" && (len(f) == ruleFields || len(f) == obligationFields):
		r := Rule{
			ID: strconv.Itoa(line), Subject: f[0], Scope: f[1], Type: f[2], Resource: f[3], Action: f[4], Condition: f[5], Effect: f[6],
		}
		if len(f) == obligationFields {
			var err error
			if r.Obligations, err = parseObligations(f[7]); err != nil {
				return err
			}
		}
		p.Rules = append(p.Rules, r)
		return r.Check()
	default:
		return errors.New("must be a p line with 7 or 8 fields after the p, or a g line with 3")
	}
}
