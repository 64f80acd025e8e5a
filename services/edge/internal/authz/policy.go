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
	"slices"
	"strings"
)

//go:embed model.conf
var modelText string

//go:embed policy.csv
var defaultPolicy string

// The bounds on a policy from outside.
const (
	maxPolicyBytes = 8 << 20
	maxFieldBytes  = 1024
)

// The effects of a rule.
const (
	effectAllow = "allow"
	effectDeny  = "deny"
)

// Policy is a set of rules and of roles given to members. Its version changes
// with anything in it.
type Policy struct {
	Version  string
	rules    [][]string
	bindings [][]string
}

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
		if err := p.add(rec, seen); err != nil {
			line, _ := lines.FieldPos(0)
			return Policy{}, fmt.Errorf("authz: policy line %d: %w", line, err)
		}
	}
	sum := sha256.Sum256(append([]byte(modelText), data...))
	p.Version = hex.EncodeToString(sum[:8])
	return p, nil
}

// Roles returns the names of the roles that any rule or binding knows, in order.
func (p Policy) Roles() []string {
	var out []string
	for _, line := range slices.Concat(p.rules, p.bindings) {
		for _, field := range line[:min(len(line), 2)] {
			if name, ok := strings.CutPrefix(field, rolePrefix); ok {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

const rolePrefix = "role:"

func (p *Policy) add(rec []string, seen map[string]struct{}) error {
	for i, f := range rec {
		rec[i] = strings.TrimSpace(f)
		if rec[i] == "" || len(rec[i]) > maxFieldBytes {
			return fmt.Errorf("each field must have 1 to %d bytes", maxFieldBytes)
		}
	}
	line := strings.Join(rec, "\x00")
	if _, ok := seen[line]; ok {
		return errors.New("the same line is there already")
	}
	seen[line] = struct{}{}
	kind, fields := rec[0], rec[1:]
	switch {
	case kind == "g" && len(fields) == 3:
		if !isPrincipal(fields[0]) || !strings.HasPrefix(fields[1], rolePrefix) {
			return errors.New("a g line is: g, user:…|group:…|role:…|tenant:…, role:…, tenant or *")
		}
		if fields[2] != "*" && !isTenant(fields[2]) {
			return fmt.Errorf("the tenant must be a name or *, got %q", fields[2])
		}
		p.bindings = append(p.bindings, fields)
	case kind == "p" && len(fields) == 7:
		if !isPrincipal(fields[0]) {
			return fmt.Errorf("%q is not user:…, group:…, role:…, tenant:… or public", fields[0])
		}
		if !isTenant(fields[1]) { // own and any look like tenants
			return fmt.Errorf("the scope must be own, any or a tenant, got %q", fields[1])
		}
		if _, err := compileCondition(fields[5]); err != nil {
			return err
		}
		if fields[6] != effectAllow && fields[6] != effectDeny {
			return fmt.Errorf("the effect must be allow or deny, got %q", fields[6])
		}
		p.rules = append(p.rules, fields)
	default:
		return errors.New("must be a p line with 7 fields after the p, or a g line with 3")
	}
	return nil
}

// isTenant reports whether a tenant may have this name, as the contract says.
func isTenant(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

func isPrincipal(s string) bool {
	kind, name, ok := strings.Cut(s, ":")
	if !ok {
		return s == "public"
	}
	return name != "" && slices.Contains([]string{"user", "group", "role", "tenant"}, kind)
}
