// Package policy keeps policies as documents: it reads and checks them, runs
// their cases, and keeps their versions in a store, whose changes each replica
// follows. What a policy means is package authz's business. Start reading at
// Document, then Store and Follower.
package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// The bounds on a document, encoded: the platform's, and a tenant's own, of which
// there may be many.
const (
	MaxPlatformBytes = 8 << 20
	MaxTenantBytes   = 1 << 20
)

// Document is a policy as people write it.
type Document = edgev1.PolicyDocument

// Parse reads a document from YAML, JSON, or lines of p and g.
func Parse(source string) (*Document, error) {
	if len(source) > MaxPlatformBytes {
		return nil, fmt.Errorf("the document is larger than %d bytes", MaxPlatformBytes)
	}
	if isLines(source) {
		p, err := authz.ParseLines(strings.NewReader(source))
		if err != nil {
			return nil, err
		}
		return ofPolicy(p), nil
	}
	return parseYAML(source)
}

// isLines reports whether the first line that says something is one of p or g.
func isLines(source string) bool {
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, _, _ := strings.Cut(line, ",")
		kind = strings.TrimSpace(kind)
		return kind != line && (kind == "p" || kind == "g")
	}
	return false
}

// parseYAML reads YAML, of which JSON is a part.
func parseYAML(source string) (*Document, error) {
	decoder := yaml.NewDecoder(strings.NewReader(source))
	var node yaml.Node
	if err := decoder.Decode(&node); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	var value map[string]any
	if err := node.Decode(&value); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if decoder.Decode(new(any)) == nil {
		return nil, errors.New("read the document: there is a second one behind it")
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	doc := new(Document)
	if err := protojson.Unmarshal(data, doc); err != nil {
		return nil, fmt.Errorf("read the document: %s", located(&node, err))
	}
	return doc, nil
}

// encode returns the text that is kept, and its digest. Equal documents have
// equal texts.
func encode(doc *Document) (text, digest string, err error) {
	if text, err = compact(doc); err != nil {
		return "", "", fmt.Errorf("policy: encode: %w", err)
	}
	sum := sha256.Sum256([]byte(text))
	return text, hex.EncodeToString(sum[:]), nil
}

// compact is a message as JSON without spaces: protojson's differ from one program
// to the next.
func compact(m proto.Message) (string, error) {
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = json.Compact(&out, data)
	return out.String(), err
}

// jsonText is compact for what is only told.
func jsonText(m proto.Message) string {
	text, err := compact(m)
	if err != nil {
		return ""
	}
	return text
}

// NewVersion returns a version to be kept.
func NewVersion(tenant string, doc *Document, author, message string, now time.Time) (Version, error) {
	text, digest, err := encode(doc)
	return Version{Tenant: tenant, Text: text, Digest: digest, Author: author, Message: message, CreateTime: now}, err
}

// Document returns the version's document.
func (v Version) Document() (*Document, error) { return decode(v.Text) }

func decode(text string) (*Document, error) {
	doc := new(Document)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: false}).Unmarshal([]byte(text), doc); err != nil {
		return nil, fmt.Errorf("policy: decode: %w", err)
	}
	return doc, nil
}

// ofPolicy is a document with the lines of a policy.
func ofPolicy(p authz.Policy) *Document {
	doc := new(Document)
	for _, r := range p.Rules {
		doc.Rules = append(doc.Rules, &edgev1.PolicyRule{
			Id: "line-" + r.ID, Subject: r.Subject, Scope: r.Scope, Type: r.Type, Resource: r.Resource, Action: r.Action,
			Condition: r.Condition, Effect: r.Effect, Obligations: obligations(r.Obligations),
		})
	}
	for _, b := range p.Bindings {
		doc.Roles = append(doc.Roles, &edgev1.PolicyRole{Member: b.Member, Role: b.Role, Tenant: b.Tenant})
	}
	return doc
}

// obligations is nil when nothing is asked for.
func obligations(s obligation.Set) *edgev1.PolicyObligations {
	if s == (obligation.Set{}) {
		return nil
	}
	return &edgev1.PolicyObligations{MaxTokens: s.MaxTokens, Model: s.Model, Redact: s.Redact, Review: s.Review}
}

func obligationSet(o *edgev1.PolicyObligations) obligation.Set {
	return obligation.Set{MaxTokens: o.GetMaxTokens(), Model: o.GetModel(), Redact: o.GetRedact(), Review: o.GetReview()}
}

// Obligations is a set as the API tells it; nil when nothing is asked for.
func Obligations(s obligation.Set) *edgev1.PolicyObligations { return obligations(s) }

// toPolicy returns the rules of a tenant's document, with what was left out
// filled in.
func toPolicy(tenant string, doc *Document) authz.Policy {
	p := authz.Policy{Rules: make([]authz.Rule, len(doc.GetRules())), Bindings: make([]authz.Binding, len(doc.GetRoles()))}
	for i, r := range doc.GetRules() {
		p.Rules[i] = authz.Rule{
			ID: or(r.GetId(), "rule-"+strconv.Itoa(i+1)), Subject: r.GetSubject(), Scope: or(r.GetScope(), authz.ScopeOwn),
			Type: or(r.GetType(), "*"), Resource: or(r.GetResource(), "*"), Action: or(r.GetAction(), "*"),
			Condition: or(strings.TrimSpace(r.GetCondition()), "true"), Effect: r.GetEffect(), Obligations: obligationSet(r.GetObligations()),
		}
		if p.Rules[i].Scope == tenant {
			p.Rules[i].Scope = authz.ScopeOwn // the same, for the tenant's own callers
		}
	}
	for i, b := range doc.GetRoles() {
		p.Bindings[i] = authz.Binding{Member: b.GetMember(), Role: b.GetRole(), Tenant: or(b.GetTenant(), tenant)}
	}
	return p
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Name is the name of a version of a tenant's policy, with which its rules'
// names begin.
func Name(tenant string, version int64) string { return tenant + "@" + strconv.FormatInt(version, 10) }
