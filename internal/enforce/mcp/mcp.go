// Package mcp looks into the Model Context Protocol, so that an agent may use
// one tool of a server and not another. It stands before an MCP server, in the
// Streamable HTTP transport of the revisions 2025-03-26 and 2025-06-18, and
// decides about each call that a request carries.
//
// A call is looked up in the same routes as every request. The path is the one of
// the endpoint, then what the method of the call is about, and the name where it
// has one; the method is the last word of the call's, in capital letters. At an
// endpoint /mcp:
//
//	tools/call of delete_file   CALL /mcp/tools/delete_file
//	prompts/get of review       GET /mcp/prompts/review
//	resources/read              READ /mcp/resources
//	tools/list                  LIST /mcp/tools
//	completion/complete         COMPLETE /mcp/completion
//	any other a/b/c             C /mcp/a/b
//
// What no route knows is refused. The operation on record, which policies read and
// baselines learn, has the name of the tool, also where the route says {tool}.
//
// The transport itself is POST, GET and DELETE of /mcp: under POST goes what calls
// for nothing, initialize, ping, notifications, and the replies of a client to its
// server; GET is the stream on which the server speaks, and DELETE the end of a
// session. An endpoint with a slash at its end, /mcp/, needs routes of its own for the
// transport; what is called there is looked up as at /mcp.
//
// An approval is for the call with its arguments, by their digest
// ([enforce.Digest]): of all parameters but the progress token, which differs from
// one attempt to the next. It is for the query of the request as well. Arguments
// themselves are never recorded.
//
// A call that is refused does not reach the server. Its caller gets an error of
// JSON-RPC with the decision, its reasons and what would unlock it, with status
// 200 as the transport wants. When a request is one call and its caller can do
// something about the refusal, the status is 401 with a challenge (RFC 9470). Of a
// batch, what passes is forwarded in its order, and the errors of the rest are
// added to the reply.
//
// What two programs could read in two ways is refused whole: a name that occurs
// twice or in two spellings, text that is not UTF-8, a body that is compressed,
// nested too deeply or too long, and members that JSON-RPC does not have.
//
// Replies are looked at, too. Of lists of tools and prompts the caller sees those
// that it may use, or could after a step-up; resources are seen together or not at
// all, as reading them is decided. Nothing is recorded for that. What the server
// asks of its client is a decision about the caller like every other: below
// /client, so that sampling/createMessage is CREATEMESSAGE /mcp/client/sampling,
// elicitation/create CREATE /mcp/client/elicitation and roots/list LIST
// /mcp/client/roots. One that is refused does not reach the client; the server gets
// an error of JSON-RPC in the client's place. A reply that cannot be understood
// does not pass: of JSON there is status 502, a stream breaks off. At a point that
// observes, lists are whole and replies pass as they are; whether it does is looked up
// for each message.
package mcp

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

const (
	maxBody  = 4 << 20 // bytes of a request
	maxDepth = 64
	maxBatch = 100 // messages in a request
	maxReply = 16 << 20
)

// Config is what a Gate needs. Log may be nil.
type Config struct {
	Judge enforce.Judge
	// Trier says what of a list its caller may use. Nil: a point that enforces
	// passes no list on.
	Trier enforce.Trier
	// Point returns the point that speaks here, as it is now; not ok: it is none any
	// more, and nothing passes unseen. It reads memory only. Nil: the point is for the
	// whole of a reply what it was at the request.
	Point func() (nhi.Point, bool)
	Log   *slog.Logger
}

// A Gate decides about what requests carry. It is safe for concurrent use.
type Gate struct {
	c        Config
	longest  int           // bytes of a message of a server
	patience time.Duration // with a server that is told what was refused
}

// New returns a Gate.
func New(c Config) *Gate {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Gate{c, maxReply, answerTime}
}

// Why a request is not looked at. The texts go to the caller.
var (
	errMethod  = errors.New("only POST, GET and DELETE are known here")
	errEmpty   = errors.New("a request with GET or DELETE has no body")
	errUpgrade = errors.New("the connection would be upgraded to what nobody looks into")
	errMedia   = errors.New("send application/json in UTF-8, not compressed")
	errLarge   = errors.New("the body is larger than 4 MiB")
	errBody    = errors.New("the body could not be read")
	errJSON    = errors.New("the body is no JSON, repeats a name, is not UTF-8, or is nested too deeply")
	errBatch   = errors.New("a batch has 1 to 100 messages, each with an id of its own")
	errMessage = errors.New("a message is not one of JSON-RPC 2.0: a request, a notification (notifications/...) or a response, with no other members")
	errID      = errors.New("an id is a text, or a whole number below 2^53 written without fraction and exponent")
	errParams  = errors.New("the parameters are not an object, or a name is spelled in two ways")
	errSlash   = errors.New("no route leads to an endpoint with a slash at its end")
	errName    = errors.New("the call names nothing, or nothing that could be a path")
	errHeader  = errors.New("the headers name another call than the body")
)

// Serve decides about a request at the point that asking names, and calls carry
// with what is left of it when that passes. It calls carry again, while it runs, to
// tell the server what of its own requests was refused.
func (g *Gate) Serve(client http.ResponseWriter, r *http.Request, asking *enforce.Asking, carry enforce.Carry) {
	w := &opening{ResponseWriter: client}
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { // of whoever carries: the connection is to be cut
				panic(v)
			}
			// The value may hold anything, so it is not logged.
			g.c.Log.Error("panic while deciding: denied", "point", asking.Point.ID)
			if w.begun { // what follows would be read as a part of the reply, and its end as a good one
				panic(http.ErrAbortHandler)
			}
			plain(w.Header())
			broken := enforce.Broken
			broken.Refuse(w)
		}
	}()
	if len(r.Header["Upgrade"]) > 0 {
		g.unreadable(w, r, asking, errUpgrade)
		return
	}
	switch r.Method {
	case http.MethodPost:
		g.post(w, r, asking, carry)
	case http.MethodGet, http.MethodDelete:
		if r.ContentLength != 0 {
			g.unreadable(w, r, asking, errEmpty)
			return
		}
		verdict := g.c.Judge.Judge(r.Context(), asking)
		if verdict.Outcome != nhi.Allow {
			verdict.Refuse(w)
			return
		}
		if r.Method == http.MethodDelete {
			carry(w, r, &verdict)
			return
		}
		g.converse(w, r.Clone(r.Context()), asking, &verdict, nil, carry)
	default:
		g.unreadable(w, r, asking, errMethod)
	}
}

// An opening notes whether a reply has begun.
type opening struct {
	http.ResponseWriter
	begun bool
}

// Unwrap is for http.ResponseController.
func (o *opening) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (o *opening) WriteHeader(status int) {
	o.begun = o.begun || status >= 200 || status == http.StatusSwitchingProtocols
	o.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (o *opening) Write(b []byte) (int, error) {
	o.begun = true
	return o.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (o *opening) FlushError() error {
	o.begun = true
	return http.NewResponseController(o.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (o *opening) Flush() { _ = o.FlushError() }

// post decides about the messages in a body.
func (g *Gate) post(w *opening, r *http.Request, asking *enforce.Asking, carry enforce.Carry) {
	body, err := read(w.ResponseWriter, r) // which the server of HTTP has to know again
	var sent posted
	if err == nil {
		sent, err = parse(body, asking.Original.Target)
	}
	if err == nil {
		err = sent.agrees(r.Header)
	}
	if err != nil {
		g.unreadable(w, r, asking, err)
		return
	}
	g.settle(asking, sent.calls)
	verdicts := g.c.Judge.JudgeCalls(r.Context(), asking, sent.calls)
	passed := sent.settle(verdicts)
	switch {
	case len(sent.messages) == 1 && passed == nil:
		refuse(w, &sent.messages[0], sent.batch)
	case passed == nil:
		refuseAll(w, &sent)
	default:
		forwarded, left := sent.left()
		next := r.Clone(r.Context())
		next.Body, next.ContentLength, next.TransferEncoding = io.NopCloser(bytes.NewReader(forwarded)), int64(len(forwarded)), nil
		if left == len(sent.messages) {
			g.converse(w, next, asking, passed, sent.awaits(), carry)
			return
		}
		m := &merger{ResponseWriter: w, refusals: sent.refusals()}
		g.converse(m, next, asking, passed, sent.awaits(), carry)
		m.finish()
	}
}

// settle lets nothing be called at an endpoint with a slash at its end, unless that
// has a route of its own: below it lies what lies below the one without the slash,
// and to some programs it is another.
func (g *Gate) settle(asking *enforce.Asking, calls []enforce.Call) {
	path := pathOf(asking.Original.Target)
	if !strings.HasSuffix(path, "/") {
		return
	}
	if _, err := g.c.Judge.Routes.Match(http.MethodPost, asking.Original.Host, path); err == nil {
		return
	}
	for i := range calls {
		calls[i].Err = errSlash
	}
}

// read returns the body.
func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	types, encodings := r.Header["Content-Type"], r.Header["Content-Encoding"]
	if len(types) != 1 || len(encodings) != 0 {
		return nil, errMedia
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/json" || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return nil, errMedia
	}
	if r.ContentLength > maxBody {
		return nil, errLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, errLarge
	}
	if err != nil {
		return nil, errBody
	}
	return body, nil
}

// unreadable refuses a request that cannot be looked at, at a point that
// observes, too: what is in it would reach the server unseen. It is put to the
// judge all the same, so that the log says who tried.
func (g *Gate) unreadable(w http.ResponseWriter, r *http.Request, asking *enforce.Asking, err error) {
	hopeless := *asking
	hopeless.Err = err
	verdict := g.c.Judge.Judge(r.Context(), &hopeless)
	status := http.StatusBadRequest
	switch err {
	case errMethod:
		status = http.StatusMethodNotAllowed
		w.Header().Set("Allow", "GET, POST, DELETE")
	case errLarge:
		status = http.StatusRequestEntityTooLarge
	case errMedia:
		status = http.StatusUnsupportedMediaType
	}
	code := codeInvalid
	if err == errJSON {
		code = codeParse
	}
	write(w, status, problem(nil, code, "muster: "+err.Error(), &data{Decision: verdict.Decision, Outcome: nhi.Deny, Reasons: []string{"request-unreadable"}}))
}
