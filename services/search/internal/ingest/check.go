package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/store"
)

// The bounds on one document.
const (
	MaxIDRunes        = 256
	MaxTitleRunes     = 1024
	MaxTextBytes      = 4 << 20
	MaxMetadataBytes  = 64 << 10
	MaxPrincipals     = 256
	MaxPrincipalRunes = 256
	MaxChunks         = 8192
)

// Input is one document as it was sent.
type Input struct {
	ID       string
	Title    string
	Text     string
	Metadata map[string]any
	// ACL lists who may read it. HasACL false: everybody in the tenant.
	ACL    []string
	HasACL bool
	// Content is the document as a file of ContentType, in place of Text; nil: none.
	Content     []byte
	ContentType string
	// ExpireTime is when it ends, or TTL how long it lives; nil: it does not end.
	ExpireTime *time.Time
	TTL        *time.Duration
}

// Check returns the document as it is kept, without chunks, or what is wrong
// with it: an error whose field is relative to the document.
func Check(tenant string, in Input) (store.Version, *apierr.Error) {
	if err := checkID(in.ID); err != nil {
		return store.Version{}, err
	}
	if err := checkTexts(in); err != nil {
		return store.Version{}, err
	}
	metadata, err := checkMetadata(in.Metadata)
	if err != nil {
		return store.Version{}, err
	}
	d := store.Document{ID: in.ID, Title: in.Title, Text: in.Text, Metadata: metadata, HasACL: in.HasACL}
	if in.HasACL {
		if d.ACL, err = checkACL(in.ACL); err != nil {
			return store.Version{}, err
		}
	}
	d.TextHash = hash(d.Title, d.Text)
	d.ContentHash = hash(append([]string{d.Title, d.Text, string(metadata), fmt.Sprint(d.HasACL)}, d.ACL...)...)
	return store.Version{Document: d, Principals: store.PrincipalsOf(tenant, d)}, nil
}

func checkID(id string) *apierr.Error {
	switch {
	case id == "":
		return apierr.Invalid("id", "is missing")
	case !utf8.ValidString(id) || utf8.RuneCountInString(id) > MaxIDRunes:
		return apierr.Invalid("id", "must have at most %d characters", MaxIDRunes)
	case strings.ContainsRune(id, '/') || strings.ContainsFunc(id, unicode.IsControl):
		return apierr.Invalid("id", "must not hold / or control characters")
	default:
		return nil
	}
}

func checkTexts(in Input) *apierr.Error {
	switch {
	case !plain(in.Title) || utf8.RuneCountInString(in.Title) > MaxTitleRunes:
		return apierr.Invalid("title", "must have at most %d characters, of valid UTF-8 without NUL", MaxTitleRunes)
	case len(in.Text) > MaxTextBytes:
		return apierr.Invalid("text", "has %d bytes; at most %d are allowed", len(in.Text), MaxTextBytes)
	case !plain(in.Text):
		return apierr.Invalid("text", "must be valid UTF-8 without NUL")
	case strings.TrimSpace(in.Title) == "" && strings.TrimSpace(in.Text) == "":
		return apierr.Invalid("text", "must not be empty, unless there is a title")
	default:
		return nil
	}
}

// plain reports whether every store can keep s.
func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// checkMetadata returns the metadata as canonical JSON.
func checkMetadata(m map[string]any) ([]byte, *apierr.Error) {
	if len(m) == 0 {
		return []byte("{}"), nil
	}
	out, err := json.Marshal(m)      // keys in order
	if len(out) > MaxMetadataBytes { // before it is looked into
		return nil, apierr.Invalid("metadata", "takes %d bytes as JSON; at most %d are allowed", len(out), MaxMetadataBytes)
	}
	if _, err := filter.Fields(m); err != nil {
		return nil, apierr.Invalid("metadata", "cannot be filtered by: %v", err)
	}
	if err != nil {
		return nil, apierr.Invalid("metadata", "is not a JSON object")
	}
	if bytes.Contains(out, []byte(`\u0000`)) {
		return nil, apierr.Invalid("metadata", "must not hold NUL")
	}
	return out, nil
}

// checkACL returns the list in order and without repetition: the order means
// nothing.
func checkACL(list []string) ([]string, *apierr.Error) {
	if len(list) > MaxPrincipals {
		return nil, apierr.Invalid("acl.principals", "has %d principals; at most %d are allowed", len(list), MaxPrincipals)
	}
	for i, p := range list {
		if !named(p) {
			return nil, apierr.Invalid(fmt.Sprintf("acl.principals[%d]", i),
				"must say what it names: user:…, group:…, role:… or tenant:…, or be public; nobody is %.64q", p)
		}
		if p == "" || !plain(p) || utf8.RuneCountInString(p) > MaxPrincipalRunes || strings.ContainsFunc(p, unicode.IsControl) {
			return nil, apierr.Invalid(fmt.Sprintf("acl.principals[%d]", i),
				"must have 1 to %d characters, none of them control characters", MaxPrincipalRunes)
		}
	}
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out), nil
}

// named reports whether callers can have the principal.
func named(p string) bool {
	if p == identity.Public {
		return true
	}
	kind, name, ok := strings.Cut(p, ":")
	return ok && name != "" && slices.Contains([]string{"user", "group", "role", "tenant"}, kind)
}

// hash returns the SHA-256 of the parts; each part's length goes with it, so
// that two lists of parts never look alike.
func hash(parts ...string) string {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}
