package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// The schemes.
const (
	SchemeHTTP  = "http"
	SchemeHTTPS = "https"
	SchemeS3    = "s3"
	SchemeOCI   = "oci"
	SchemeHF    = "hf"
	// SchemeRegistry is the registry's own store of artifacts.
	SchemeRegistry = "registry"
)

// Ref is where a file lies, taken apart.
type Ref struct {
	Scheme string
	// Host is the server or registry, with its port if one is given, in lower
	// case; or the bucket. A hub has none: the configuration names it.
	Host string
	// Repository is an OCI repository, or a hub's, as organisation/name.
	Repository string
	// Revision is an OCI tag or digest, or a hub's branch, tag or commit.
	Revision string
	// Path is the file's, decoded and without a slash in front. In an OCI
	// repository it is the title or media type of a layer, or empty.
	Path string

	rawPath, query string // of http and https; the query may hold a signature
}

// The bounds of references.
const (
	maxURI      = 2048
	maxSegments = 32
	maxSegment  = 255
)

// Parse takes a URI apart. Its errors do not repeat the URI, which may hold
// credentials.
func Parse(uri string) (Ref, error) {
	if len(uri) > maxURI {
		return Ref{}, fmt.Errorf("must have at most %d characters", maxURI)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return Ref{}, errors.New("is not a URI")
	}
	r := Ref{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: strings.TrimPrefix(u.Path, "/")}
	switch {
	case u.Opaque != "":
		return Ref{}, fmt.Errorf("must begin with %s://", u.Scheme)
	case u.User != nil:
		return Ref{}, errors.New("must not hold credentials")
	case u.Fragment != "" && r.Scheme != SchemeOCI:
		return Ref{}, errors.New("must not have a fragment")
	case (u.RawQuery != "" || u.ForceQuery) && r.Scheme != SchemeHTTP && r.Scheme != SchemeHTTPS:
		return Ref{}, errors.New("must not have a query")
	case !plainHost(u):
		return Ref{}, errors.New("must name a host in plain letters, digits, dots and dashes")
	}
	if err := checkPath(r.Path, u.EscapedPath()); err != nil {
		return Ref{}, err
	}
	switch r.Scheme {
	case SchemeHTTP, SchemeHTTPS:
		r.rawPath, r.query = u.RawPath, u.RawQuery
	case SchemeS3:
		err = r.s3(u)
	case SchemeOCI:
		err = r.oci(u)
	case SchemeHF:
		err = r.hub(u)
	case SchemeRegistry:
		err = r.registry()
	default:
		return Ref{}, errors.New("must have one of the schemes file, http, https, s3, oci, hf and registry")
	}
	return r, err
}

func plainHost(u *url.URL) bool {
	return regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`).MatchString(u.Host) && len(u.Host) <= maxSegment
}

// checkPath refuses what servers and file systems may understand in more than
// one way.
func checkPath(p, escaped string) error {
	lower := strings.ToLower(escaped)
	if strings.Contains(lower, "%2f") || strings.Contains(lower, "%5c") || strings.Contains(p, `\`) {
		return errors.New("must not have encoded slashes or backslashes in its path")
	}
	segments := strings.Split(p, "/")
	if len(segments) > maxSegments {
		return fmt.Errorf("must have at most %d segments in its path", maxSegments)
	}
	for _, s := range segments {
		switch {
		case isStep(s):
			return errors.New("must name a file by a path without empty segments, `.` and `..`")
		case encodedTwice(s):
			return errors.New("must not have dots, slashes or backslashes encoded twice in its path")
		case len(s) > maxSegment:
			return fmt.Errorf("must not have segments of more than %d bytes in its path", maxSegment)
		case strings.ContainsFunc(s, unicode.IsControl) || s != strings.ToValidUTF8(s, ""):
			return errors.New("must not have control characters in its path")
		}
	}
	return nil
}

// isStep reports whether a segment names no file, but nothing, this directory or
// the one above; also to servers that take what follows a semicolon for
// parameters (`..;`), or leave spaces at the end away.
func isStep(s string) bool {
	s, _, _ = strings.Cut(s, ";")
	s = strings.TrimRight(s, " ")
	return s == "" || s == "." || s == ".."
}

// encodedTwice reports whether a segment that was decoded would change the path if
// a server decoded it again.
func encodedTwice(s string) bool {
	s = strings.ToLower(s)
	return strings.Contains(s, "%2e") || strings.Contains(s, "%2f") || strings.Contains(s, "%5c")
}

func (r *Ref) s3(u *url.URL) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`).MatchString(u.Host) {
		return errors.New("must be written s3://bucket/key")
	}
	return nil
}

// oci takes registry/repository[:tag|@digest][#title] apart; the names are those
// of the distribution specification.
func (r *Ref) oci(u *url.URL) error {
	r.Repository, r.Path = r.Path, u.Fragment
	if repo, digest, ok := strings.Cut(r.Repository, "@"); ok {
		r.Repository, r.Revision = repo, digest
		if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(digest) {
			return errors.New("must name a manifest by sha256 and 64 hexadecimal digits, or by a tag")
		}
	} else if repo, tag, ok := strings.Cut(r.Repository, ":"); ok {
		r.Repository, r.Revision = repo, tag
		if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`).MatchString(tag) {
			return errors.New("must have a tag of letters, digits, dots, dashes and underscores")
		}
	} else {
		r.Revision = "latest"
	}
	name := `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
	if !regexp.MustCompile(`^` + name + `(/` + name + `)*$`).MatchString(r.Repository) {
		return errors.New("must be written oci://registry/repository:tag, or with @sha256:… instead of the tag")
	}
	if strings.ContainsFunc(r.Path, unicode.IsControl) || len(r.Path) > maxSegment {
		return errors.New("must name a layer by a title or media type of at most 255 bytes without control characters")
	}
	return nil
}

// hub takes organisation/name[@revision]/path apart.
func (r *Ref) hub(u *url.URL) error {
	name, file, ok := strings.Cut(r.Path, "/")
	if !ok {
		return errors.New("must be written hf://organisation/name@revision/path")
	}
	r.Host, r.Path, r.Revision = "", file, "main"
	if repo, revision, given := strings.Cut(name, "@"); given {
		name, r.Revision = repo, revision
	}
	r.Repository = u.Host + "/" + name
	word := regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,95}$`)
	if !word.MatchString(u.Host) || !word.MatchString(name) || !word.MatchString(r.Revision) {
		return errors.New("must be written hf://organisation/name@revision/path, each of letters, digits, dots, dashes and underscores")
	}
	return nil
}

func (r *Ref) registry() error {
	if r.Host != "sha256" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(r.Path) {
		return errors.New("must be written registry://sha256/ and 64 hexadecimal digits")
	}
	return nil
}

// String is the reference as people may see it: without the query.
func (r Ref) String() string {
	switch r.Scheme {
	case SchemeOCI:
		sep := ":"
		if strings.HasPrefix(r.Revision, "sha256:") {
			sep = "@"
		}
		s := r.Scheme + "://" + r.Host + "/" + r.Repository + sep + r.Revision
		if r.Path != "" {
			s += "#" + r.Path
		}
		return s
	case SchemeHF:
		return r.Scheme + "://" + r.Repository + "@" + r.Revision + "/" + r.Path
	default:
		return r.Scheme + "://" + r.Host + "/" + r.Path
	}
}

// place is what prefixes of the configuration are compared with.
func (r Ref) place() string {
	switch r.Scheme {
	case SchemeOCI:
		return r.Scheme + "://" + r.Host + "/" + r.Repository
	case SchemeHF:
		return r.Scheme + "://" + r.Repository + "/" + r.Path
	default:
		return r.Scheme + "://" + r.Host + "/" + r.Path
	}
}

// FileName is the name that the file has by its place: the path within a hub's
// repository, and the last part of other paths. It is empty when the place says
// none.
func (r Ref) FileName() string {
	switch {
	case r.Scheme == SchemeHF:
		return r.Path
	case r.Scheme == SchemeOCI && strings.Contains(r.Path, "/"):
		return "" // a media type, or a title with folders
	case r.Path == "":
		return ""
	default:
		return path.Base(r.Path)
	}
}
