package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/prompt"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/archive"
	"github.com/poterne/poterne/services/registry/internal/webhook"
)

const (
	// maxArchive bounds an archive that is imported: it is kept on disk until all of it
	// is there.
	maxArchive = 4 << 30
	// archivePiece is how much of an archive is sent at once.
	archivePiece = 256 << 10
	// archiveBusy is how long who finds another at it should wait.
	archiveBusy = 30 * time.Second
)

// spool is a file that is gone when it is closed.
type spool struct{ *os.File }

func newSpool() (spool, error) {
	f, err := os.CreateTemp("", "poterne-registry-archive-*")
	if err != nil {
		return spool{}, apierr.Wrap(apierr.Unavailable, fmt.Errorf("spool: %w", err), "the registry has no room for an archive; try again")
	}
	return spool{f}, nil
}

func (s spool) Close() error { return errors.Join(s.File.Close(), os.Remove(s.Name())) }

func (s spool) rewind() error {
	_, err := s.Seek(0, io.SeekStart)
	return err
}

// onlyArchive lets one archive at a time be moved: each takes the disk and the
// database.
func (s *Server) onlyArchive() (release func(), err error) {
	if !s.archiving.TryLock() {
		return nil, apierr.New(apierr.Overloaded, "another archive is being written or read; wait for it").WithRetryAfter(archiveBusy)
	}
	return s.archiving.Unlock, nil
}

// ExportArchive implements registryv1.RegistryServiceServer.
func (s *Server) ExportArchive(_ *registryv1.ExportArchiveRequest, stream grpc.ServerStreamingServer[registryv1.ExportArchiveResponse]) (err error) {
	ctx := stream.Context()
	if err := s.checkPlatform(ctx); err != nil {
		return err
	}
	file, err := newSpool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	release, err := s.onlyArchive()
	if err != nil {
		return err
	}
	err = s.store.ExportAll(ctx, file)
	release() // a client that reads slowly keeps nobody waiting
	if err != nil {
		return err
	}
	if err := file.rewind(); err != nil {
		return err
	}
	for {
		// A message within the process may be kept until it is received.
		room := make([]byte, archivePiece)
		n, err := io.ReadFull(file, room)
		if n > 0 {
			if err := stream.Send(&registryv1.ExportArchiveResponse{Data: room[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
}

// ImportArchive implements registryv1.RegistryServiceServer. Nothing is asked of the
// store before all of the archive is there and is what its end says.
func (s *Server) ImportArchive(stream grpc.ClientStreamingServer[registryv1.ImportArchiveRequest, registryv1.ImportArchiveResponse]) (err error) {
	ctx := stream.Context()
	if err := s.checkPlatform(ctx); err != nil {
		return err
	}
	release, err := s.onlyArchive()
	if err != nil {
		return err
	}
	defer release()
	file, err := newSpool()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	first, err := receiveArchive(stream, file)
	if err != nil {
		return err
	}
	items := func(each func(archive.Item) error) error {
		if err := file.rewind(); err != nil {
			return err
		}
		return archive.Items(file, each)
	}
	if err := items(s.checkItem); err != nil {
		return err
	}
	resp, err := s.store.ImportAll(ctx, actor(ctx), items, first.GetConflict(), first.GetDryRun())
	if err != nil {
		return err
	}
	return stream.SendAndClose(resp)
}

// receiveArchive keeps what comes, and returns the first message.
func receiveArchive(stream grpc.ClientStreamingServer[registryv1.ImportArchiveRequest, registryv1.ImportArchiveResponse], out io.Writer) (*registryv1.ImportArchiveRequest, error) {
	first := new(registryv1.ImportArchiveRequest)
	size := int64(0)
	for n := 0; ; n++ {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return first, nil
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			first = &registryv1.ImportArchiveRequest{Conflict: req.GetConflict(), DryRun: req.GetDryRun()}
		}
		if size += int64(len(req.GetData())); size > maxArchive {
			return nil, apierr.New(apierr.PayloadTooLarge, "the archive is larger than %d bytes", int64(maxArchive))
		}
		if _, err := out.Write(req.GetData()); err != nil {
			return nil, apierr.Wrap(apierr.Unavailable, fmt.Errorf("spool: %w", err), "the registry has no room for the archive")
		}
	}
}

// checkItem holds a thing to the rules by which it would have been made, and every
// digest against what it is of.
func (s *Server) checkItem(item archive.Item) error {
	switch {
	case item.Webhook != nil:
		h := item.Webhook
		// The rules are those of a webhook that somebody makes.
		err := s.valid(&registryv1.CreateWebhookRequest{Name: h.GetName(), Url: h.GetUrl(), Events: h.GetEvents(), Models: h.GetModels()})
		return errors.Join(err, webhook.CheckURL(h.GetUrl()))
	case item.Prompt != nil:
		return s.checkArchivedPrompt(item.Prompt)
	}
	if err := s.valid(item.Model); err != nil {
		return err
	}
	err := s.checkContract(item.Model)
	for _, r := range item.Model.GetRollouts() {
		err = errors.Join(err, checkTexts("models", r.GetRollout().GetDescription(), "models", r.GetRollout().GetCreatedBy()))
		for _, e := range r.GetEvents() {
			err = errors.Join(err, checkTexts("models", e.GetReason(), "models", e.GetWords(), "models", e.GetActor()))
		}
	}
	for _, e := range item.Model.GetExperiments() {
		err = errors.Join(err, checkTexts("models", e.GetDescription(), "models", e.GetReason(), "models", e.GetWinner(),
			"models", e.GetSalt(), "models", e.GetLayerSalt(), "models", e.GetLayer()))
	}
	for _, st := range item.Model.GetSplitHistory() {
		err = errors.Join(err, checkTexts("models", st.GetActor(), "models", st.GetReason(), "models", st.GetSalt()))
	}
	return errors.Join(err, checkStates(item.Model.GetAliasHistory()), checkArchived(item.Model))
}

func (s *Server) checkArchivedPrompt(p *registryv1.ArchivedPrompt) error {
	if err := s.valid(p); err != nil {
		return err
	}
	for _, v := range p.GetVersions() {
		if err := checkText("models", v.GetDescription()); err != nil {
			return err
		}
		if err := prompt.Check(v.GetSpec()); err != nil {
			return err
		}
		d, err := prompt.Digest(v.GetSpec())
		if err != nil {
			return err
		}
		if d != v.GetDigest() {
			return apierr.Invalid("models", "a version of the prompt %q is told to be %.80q, and what it says is %s", p.GetPrompt().GetName(), v.GetDigest(), d)
		}
	}
	return checkStates(p.GetAliasHistory())
}

func checkStates(states []*registryv1.AliasState) error {
	for _, st := range states {
		if err := checkTexts("models", st.GetActor(), "models", st.GetRequestedBy(), "models", st.GetReason(), "models", st.GetDigest()); err != nil {
			return err
		}
	}
	return nil
}

// valid holds a message to the rules of the contract, as the chain does requests.
func (s *Server) valid(m proto.Message) error {
	if err := s.opts.Validator.Validate(m); err != nil {
		return apierr.From(err)
	}
	return nil
}
