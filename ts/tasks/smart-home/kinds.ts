import type { SlotName } from "./values.js";

/** One kind of sentence and the call it stands for. */
export interface CallKind {
  readonly name: string;
  /** The function that is called. */
  readonly call: string;
  /** The call's arguments in their order: argument → slot. */
  readonly fields: Readonly<Record<string, SlotName>>;
  /** Sentences with every slot in braces, without a capital or a full stop. */
  readonly phrasings: readonly string[];
}

/** Every kind: adding a row, a phrasing or a slot's value changes the task's difficulty. */
export const callKinds: readonly CallKind[] = [
  {
    name: "light-switch",
    call: "set_light",
    fields: { room: "room", on: "on" },
    phrasings: [
      "turn {on} the {room} light",
      "switch the light in the {room} {on}",
      "turn the {room} lights {on}",
      "I want the light {on} in the {room}",
    ],
  },
  {
    name: "brightness",
    call: "set_light",
    fields: { room: "room", brightness: "percent" },
    phrasings: [
      "set the {room} light to {percent}%",
      "dim the {room} lights to {percent} percent",
      "make the light in the {room} {percent}% bright",
      "put the brightness at {percent} in the {room}",
    ],
  },
  {
    name: "color",
    call: "set_light",
    fields: { room: "room", color: "color" },
    phrasings: [
      "make the {room} light {color}",
      "change the light in the {room} to {color}",
      "I would like {color} light in the {room}",
      "paint the {room} {color} with the lights",
    ],
  },
  {
    name: "temperature",
    call: "set_temperature",
    fields: { room: "room", celsius: "celsius" },
    phrasings: [
      "set the {room} to {celsius} degrees",
      "heat the {room} to {celsius} degrees",
      "keep it at {celsius} degrees in the {room}",
      "the {room} thermostat should read {celsius}",
    ],
  },
  {
    name: "temperature-change",
    call: "change_temperature",
    fields: { room: "room", by: "change" },
    phrasings: ["make the {room} {change}", "I want it {change} in the {room}", "the {room} should be {change}"],
  },
  {
    name: "blinds",
    call: "set_blinds",
    fields: { room: "room", percent: "percent" },
    phrasings: [
      "move the {room} blinds to {percent}%",
      "raise the blinds in the {room} to {percent} percent",
      "leave the {room} blinds {percent}% open",
    ],
  },
  {
    name: "blinds-whole",
    call: "set_blinds",
    fields: { room: "room", percent: "open" },
    phrasings: [
      "{open} the {room} blinds",
      "fully {open} the blinds in the {room}",
      "{open} all blinds of the {room}",
    ],
  },
  {
    name: "music",
    call: "play_music",
    fields: { room: "room", genre: "genre" },
    phrasings: [
      "play {genre} in the {room}",
      "put on some {genre} music in the {room}",
      "I feel like {genre} in the {room}",
      "let's hear {genre} on the {room} speaker",
    ],
  },
  {
    name: "volume",
    call: "set_volume",
    fields: { room: "room", percent: "percent" },
    phrasings: [
      "set the volume in the {room} to {percent}",
      "turn the {room} speaker to {percent}%",
      "the {room} music should be at {percent} percent",
    ],
  },
  {
    name: "timer",
    call: "set_timer",
    fields: { minutes: "minutes", label: "label" },
    phrasings: [
      "set a {minutes} minute timer for the {label}",
      "start a timer of {minutes} minutes for {label}",
      "remind me about the {label} in {minutes} minutes",
      "count down {minutes} minutes for the {label}",
    ],
  },
  {
    name: "alarm",
    call: "set_alarm",
    fields: { day: "day", time: "time" },
    phrasings: [
      "wake me at {time} on {day}",
      "set an alarm for {day} at {time}",
      "on {day} I have to get up at {time}",
      "I need an alarm at {time} this {day}",
    ],
  },
  {
    name: "lock",
    call: "set_lock",
    fields: { door: "door", locked: "locked" },
    phrasings: [
      "{locked} the {door} door",
      "make sure the {door} door is {locked}ed",
      "I want you to {locked} the {door} door",
    ],
  },
  {
    name: "scene",
    call: "run_scene",
    fields: { scene: "scene" },
    phrasings: [
      "start the {scene} scene",
      "it is time for {scene}",
      "run the {scene} scene",
      "switch the house to the {scene} scene",
    ],
  },
  {
    name: "vacuum",
    call: "start_vacuum",
    fields: { room: "room" },
    phrasings: [
      "vacuum the {room}",
      "send the robot to the {room}",
      "the floor of the {room} needs cleaning",
      "let the vacuum do the {room}",
    ],
  },
];

/** What may stand before and after a sentence, and between two; an empty text = nothing. */
export const openers = ["", "", "", "hey, ", "okay, "] as const;
export const closers = ["", "", "", " please", ", thanks"] as const;
export const joiners = [" and ", ", then ", " and then ", ", and also "] as const;

/** Share of the requests that ask for two things. */
export const pairShare = { train: 0.5, test: 0.5 } as const;
