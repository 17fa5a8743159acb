import { Dialog } from "../parts/Dialog";
import { Hostile } from "../parts/Hostile";
import { OutcomeWord } from "../parts/OutcomeWord";
import { pages } from "./pages";

const keys: [keys: string[], does: string][] = [
  [["Ctrl", "K"], "search: any name, ARN, id or key"],
  ...pages.map((p): [string[], string] => [["g", p.key], `go to ${p.label}`]),
  [["/"], "filter the list"],
  [["↑", "↓"], "move in a list"],
  [["Enter"], "open the row: why was it decided like this?"],
  [["Space"], "pause and go on (Activity)"],
  [["Esc"], "close, back to where you were"],
  [["F8"], "to the messages"],
  [["?"], "this help"],
];

/** Help lists the keys and the shapes. */
export default function Help({ onClose, version }: { onClose: () => void; version: string }) {
  return (
    <Dialog title="Help" open onClose={onClose}>
      <div className="flex flex-col gap-4">
        <table className="w-full text-13">
          <caption className="pb-1 text-left font-[600]">Keys</caption>
          <tbody>
            {keys.map(([combination, does]) => (
              <tr key={does} className="border-t border-hair">
                <td className="w-28 py-1">
                  {combination.map((k) => (
                    <kbd key={k} className="key mr-1">
                      {k}
                    </kbd>
                  ))}
                </td>
                <td className="py-1">{does}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <div className="flex flex-col gap-1 text-13">
          <h3>Outcomes</h3>
          <p>
            <OutcomeWord decision={{ outcome: "allow", would_refuse: false }} /> went through.
          </p>
          <p>
            <OutcomeWord decision={{ outcome: "step-up", would_refuse: false }} /> was stopped until the caller proves
            more.
          </p>
          <p>
            <OutcomeWord decision={{ outcome: "deny", would_refuse: false }} /> was stopped.
          </p>
        </div>
        <p className="text-12 text-muted">
          Muster <Hostile text={version} />. The same data in a terminal: <span className="mono">muster help</span>. The
          API is described at{" "}
          <a href="/openapi.json" className="mono">
            /openapi.json
          </a>
          . What the console is built from: <a href="/licenses.txt">licences</a>.
        </p>
      </div>
    </Dialog>
  );
}
