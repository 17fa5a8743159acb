import { Monitor, Moon, Sun } from "lucide-react";
import { useState } from "react";
import { Button } from "../parts/Button";
import { readTheme, type Theme, writeTheme } from "./theme";

const themes: Record<Theme, { label: string; icon: typeof Sun; next: Theme }> = {
  system: { label: "like the system", icon: Monitor, next: "light" },
  light: { label: "light", icon: Sun, next: "dark" },
  dark: { label: "dark", icon: Moon, next: "system" },
};

/** ThemeButton goes round: like the system, light, dark. */
export function ThemeButton() {
  const [theme, setTheme] = useState(readTheme);
  const { label, icon: Icon, next } = themes[theme];
  return (
    <Button
      look="quiet"
      icon
      aria-label={`Theme: ${label}. Change to ${themes[next].label}`}
      title={`Theme: ${label}`}
      onClick={() => {
        setTheme(next);
        writeTheme(next);
      }}
    >
      <Icon size={16} aria-hidden />
    </Button>
  );
}
