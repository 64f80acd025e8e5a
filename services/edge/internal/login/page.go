package login

import (
	"bytes"
	"embed"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/apierr/httperr"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/session"
)

//go:embed style.css
var files embed.FS

// The pages.
const (
	pageAccount   = "account"
	pageSignOut   = "sign-out"
	pageSignedOut = "signed-out"
	pageError     = "error"
)

// view is what a page shows.
type view struct {
	Page      string
	Session   *session.Record
	Sessions  []session.Record
	CSRFToken string
	PublicURL string
	// Status, Message and RequestID are of an error.
	Status             int
	Message, RequestID string
}

// sentence makes one of an error's message, which begins in lower case.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// header is what every page says besides its text: that nothing runs in it, that it
// takes nothing from elsewhere, and that nobody keeps it.
func (p *Pages) header(w http.ResponseWriter) {
	h := w.Header()
	// A browser asks also where the answer to a form leads to: logging out may lead
	// to the provider.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self' "+strings.Join(p.Provider.LogoutOrigins(), " ")+
		"; base-uri 'none'; frame-ancestors 'none'")
	// With no-referrer a form would be sent with the origin null.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// render answers with a page, if it can be made.
func (p *Pages) render(w http.ResponseWriter, status int, v view) error {
	var buf bytes.Buffer
	if err := v.document().Render(&buf); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the page cannot be shown")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes())
	return nil
}

// fail answers with a page that says what went wrong, as far as it is the person's
// affair.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := apierr.From(err)
	if s := httperr.RetryAfterSeconds(e); s > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(s))
	}
	v := view{Page: pageError, Status: e.HTTPStatus(), Message: e.Message, RequestID: requestid.FromContext(r.Context())}
	if err := p.render(w, v.Status, v); err != nil {
		p.Log.ErrorContext(r.Context(), "a page cannot be made", slog.String("page", v.Page), telemetry.Err(err))
		http.Error(w, v.Message, v.Status)
	}
}

func serveStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, files, "style.css")
}
