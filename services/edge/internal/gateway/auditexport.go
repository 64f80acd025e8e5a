package gateway

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// AuditExportPath is the path of the audit trail's export, whose body is lines.
const AuditExportPath = "/v1/admin/audit:export"

const contentTypeCSV = "text/csv; charset=utf-8"

// exportAudit answers GET /v1/admin/audit:export, as backup does.
func (h *handler) exportAudit(w *writer, r *http.Request) {
	req, err := auditExport(r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	contentType, name := contentTypeLines, "audit.jsonl"
	if req.GetFormat() == "csv" {
		contentType, name = contentTypeCSV, "audit.csv"
	}
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	download(h, w, r, contentType, func(ctx context.Context) (pieces[*edgev1.ExportAuditResponse], error) {
		return edgev1.NewAuditServiceClient(h.Conn).ExportAudit(ctx, req)
	})
}

// auditExport is the request of an export, from the query.
func auditExport(r *http.Request) (*edgev1.ExportAuditRequest, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, apierr.Invalid("query", "query: cannot be read")
	}
	out := new(edgev1.ExportAuditRequest)
	for name, list := range values {
		if len(list) != 1 {
			return nil, apierr.Invalid("query", "query: a parameter comes more than once")
		}
		switch name {
		case "format":
			out.Format = list[0]
		case "filter":
			out.Filter = list[0]
		case "proof":
			if out.Proof, err = strconv.ParseBool(list[0]); err != nil {
				return nil, apierr.Invalid(name, "proof: must be true or false")
			}
		case "proofs":
			if out.Proofs, err = strconv.ParseBool(list[0]); err != nil {
				return nil, apierr.Invalid(name, "proofs: must be true or false")
			}
		default:
			return nil, apierr.Invalid("query", "query: has a parameter that this call does not have")
		}
	}
	return out, nil
}
